"""Reads a fixtures folder: which cases it holds, their arrays, seeded weights and language model.

Nothing about a case is known here: sizes, depths, prompts and salts all come from its files.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

MODES = ('det', 'caption')


class FixtureError(ValueError):
    """The folder does not have the layout of the fixtures."""


@dataclass(frozen=True)
class Case:
    """One thing to compare: a model with one kind of prompt, or one operation.

    Attributes:
        kind: ``'model'``, ``'ops'`` or ``'reference'``.
        folder: where its files are.
        part: stem of its arrays (``det``, ``caption``, ``bi_attention``, ...).
        root: the fixtures folder it was found in.
    """

    kind: str
    folder: Path
    part: str
    root: Path

    @property
    def name(self) -> str:
        return f'{self.folder.name}/{self.part}'


@dataclass
class Arrays:
    """Arrays of one ``.npz`` and the description beside it, if any; remembers which were asked for."""

    values: dict[str, np.ndarray]
    info: dict
    used: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path, part: str) -> Arrays:
        described = folder / f'{part}.json'
        with np.load(folder / f'{part}.npz') as values:
            return cls(dict(values), read_json(described) if described.is_file() else {})

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __getitem__(self, key: str) -> np.ndarray:
        self.used.add(key)
        return self.values[key]

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(np.array(self[key]))

    def starting_with(self, prefix: str) -> list[str]:
        return [key for key in self.values if key.startswith(prefix)]

    @property
    def unused(self) -> list[str]:
        return [key for key in self.values if key not in self.used]


def find_cases(root: Path) -> list[Case]:
    """Every case of a fixtures folder, in a fixed order.

    Raises:
        FixtureError: there is none.
    """
    root = Path(root).resolve()
    cases = []
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())] if root.is_dir() else []
    for folder in folders:
        if (folder / 'state_dict_spec.json').is_file():
            cases += [Case('model', folder, mode, root) for mode in MODES if (folder / f'{mode}.npz').is_file()]
        elif folder.name in ('ops', 'reference'):
            cases += [Case(folder.name, folder, path.stem, root) for path in sorted(folder.glob('*.npz'))]
    if not cases:
        raise FixtureError(
            f'No parity case in "{root}". Expected folders with state_dict_spec.json, settings.json, '
            'inputs.npz and det.npz or caption.npz, or folders named "ops" and "reference" with .npz files.'
        )
    return cases


def seeded_weights(root: Path, tensors: list[dict], salt: str) -> dict[str, Tensor]:
    """Weights by the fixtures' own rule, verified against the probes in the specification."""
    rule = _weight_rule(find_beside(root, 'seeded_weights.py'))
    weights = rule.seeded_state_dict(tensors, salt)
    rule.check_probes(weights, tensors)
    return weights


def find_beside(root: Path, name: str) -> Path:
    """``name`` in the fixtures folder or in the one above.

    Raises:
        FixtureError: it is in neither.
    """
    for folder in (root, root.parent):
        if (folder / name).exists():
            return folder / name
    raise FixtureError(f'"{name}" is neither in "{root}" nor in "{root.parent}". Copy it from the original fixtures.')


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


@lru_cache
def _weight_rule(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location('parity_seeded_weights', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
