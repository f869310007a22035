"""Reading, checking and writing checkpoints: every tensor is accounted for, nothing is left half-written."""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from glipv2_mmdet.checkpoints.glip_names import CheckpointError, detect_layout
from glipv2_mmdet.compat.safe_load import protected_load
from glipv2_mmdet.files import atomic_write
from glipv2_mmdet.printable import printable

_REASON = re.compile(r'WeightsUnpickler error: (.*)')
#: Names in a message; the rest is a count.
NUM_LISTED = 5
#: What ``--trust`` of a command line does.
TRUST_HELP = (
    'unpickle everything in the given files, which RUNS whatever code their makers put there: only for files '
    'of people you trust, best on a machine with nothing to lose (default: refuse such a file)'
)


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_weights` did.

    Attributes:
        loaded: tensors that were set.
        missing: tensors of the model the checkpoint does not have; all excused.
        unexpected: tensors of the checkpoint the model does not have; all excused.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class UnsafeCheckpointError(CheckpointError, UnpicklingError):
    """A file that holds more than weights: reading it whole would run code from it."""


def read_checkpoint(
    path: str | os.PathLike, trust: bool = False, map_location: Any = 'cpu', mapped: bool = True
) -> dict:
    """The content of a checkpoint file, ``.safetensors`` or of torch, read weights-only.

    Args:
        path: of the file.
        trust: unpickle everything that is in it, which RUNS whatever code its maker put there.
        map_location: as in ``torch.load``; ``.safetensors`` come on the CPU.
        mapped: map a file of torch's current format, so that an optimizer state beside the weights costs no memory.

    Raises:
        FileNotFoundError: there is no such file.
        UnsafeCheckpointError: it holds more than weights and numbers, and is not trusted.
        CheckpointError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no checkpoint "{path}". Give the path of a file on this machine.')
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    try:
        if trust:
            print_log(
                f'"{path}" is unpickled as a whole: code in it runs now.', logger='current', level=logging.WARNING
            )
        return protected_load(path, map_location, weights_only=not trust, mmap=mapped and zipfile.is_zipfile(path))
    except UnpicklingError as error:
        reason = _first_line(error)
        raise UnsafeCheckpointError(
            f'"{path}" cannot be read as weights: {reason} The file is damaged, or holds Python objects besides its '
            'weights, and reading those would run whatever code they bring: it may be an attack. Nothing was run. Ask '
            'for a .safetensors file, which cannot hold code. Only if you trust whoever made this one, take the '
            f'weights out of it: python tools/model_converters/to_safetensors.py "{path}" --trust --out '
            f'"{path.with_suffix(".safetensors")}"'
        ) from error
    except (EOFError, RuntimeError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f'"{path}" cannot be read as weights: {_first_line(error)} A download may be '
            'incomplete: fetch or copy the file again.'
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f'"{path}" cannot be read as safetensors: {error}. A download may be incomplete.'
        ) from error


def _first_line(error: Exception) -> str:
    """What is wrong, as one plain line; torch puts how to switch its protection off, in bold, before it."""
    text = _REASON.search(f'{error}')
    line = (text.group(1) if text else f'{error}').partition('\n')[0]
    # what to allow, which torch proposes next, is for the maker of a file to say
    return printable(line.partition(' Please use `')[0]).strip() or type(error).__name__


def state_dict_of(checkpoint: Mapping) -> dict[str, Tensor]:
    """The weights in a checkpoint: under ``state_dict`` (mmengine), ``model`` (original code), or the whole.

    Raises:
        CheckpointError: there are none.
    """
    weights = checkpoint
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            weights = checkpoint[key]
            break
    if not isinstance(weights, Mapping):
        got = type(weights).__name__
    elif weights and all(isinstance(value, Tensor) for value in weights.values()):
        return dict(weights)
    else:
        others = [str(name) for name, value in weights.items() if not isinstance(value, Tensor)]
        got = _listing(others) or 'nothing'
    raise CheckpointError(
        'Checkpoint holds no weights: expected tensors by name, alone or under "state_dict" or "model", got '
        f'{got}. Give a checkpoint of a trained model.'
    )


def load_weights(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
) -> LoadReport:
    """Set the weights of ``model``; what does not fit and is not excused is one error, then nothing is set.

    Args:
        model: any module.
        state_dict: name to tensor.
        allow_missing: patterns such as ``'task_heads.*'`` of tensors that may keep their start values.
        allow_unexpected: patterns of tensors that may be ignored.

    Raises:
        CheckpointError: lists missing, unexpected and misshapen tensors; knows an unconverted GLIP file.
    """
    wanted = model.state_dict()
    problems = _foreign_source(state_dict, wanted)
    if problems:
        raise CheckpointError(problems)
    missing = [name for name in wanted if name not in state_dict]
    unexpected = [name for name in state_dict if name not in wanted]
    loaded = [name for name in wanted if name in state_dict]
    problems = [
        *_counted('the checkpoint lacks', _not_excused(missing, allow_missing)),
        *_counted('the model does not use', _not_excused(unexpected, allow_unexpected)),
        *_misshapen(wanted, state_dict),
    ]
    if problems:
        listing = '\n'.join(f'- {problem}' for problem in problems)
        raise CheckpointError(
            f'This checkpoint does not fit {type(model).__name__}:\n{listing}\nUse the config it was trained '
            'with, or excuse tensors by name (allow_missing, allow_unexpected).'
        )
    model.load_state_dict({name: state_dict[name] for name in loaded}, strict=False)
    print_log(
        f'Loaded {len(loaded)} tensors; {len(missing)} of the model kept their values, '
        f'{len(unexpected)} of the checkpoint were left out.',
        logger='current',
    )
    return LoadReport(tuple(loaded), tuple(missing), tuple(unexpected))


def check_fits(model: nn.Module, state_dict: Mapping[str, Tensor], prefix: str = '') -> None:
    """Refuse a checkpoint of another architecture, before mmengine's lenient loading takes what it can.

    Missing parts are fine here (a new head, a backbone alone), and so are a few extra ones.

    Args:
        model: the module that is about to be loaded.
        state_dict: name to tensor.
        prefix: what stands before the model's own names in ``state_dict``.

    Raises:
        CheckpointError: an unconverted GLIP file, tensors of another shape, or most tensors have no place.
    """
    given = {name.removeprefix(prefix): tensor for name, tensor in state_dict.items() if name.startswith(prefix)}
    wanted = model.state_dict()
    problem = _foreign_source(given, wanted)
    if problem:
        raise CheckpointError(problem)
    problems = _misshapen(wanted, given)
    unexpected = [name for name in given if name not in wanted]
    if 2 * len(unexpected) > len(given):
        problems += _counted('the model does not use', unexpected)
    if problems:
        raise CheckpointError(
            f'This checkpoint does not fit {type(model).__name__}: {"; ".join(problems)}. '
            'Use the config it was trained with, or another checkpoint.'
        )


def describe_misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Which tensors of ``wanted`` are missing in ``given`` or have another shape there; empty where none is."""
    missing = [name for name in wanted if name not in given]
    return '; '.join([*_counted('are missing', missing), *_misshapen(wanted, given)])


def save_checkpoint(path: str | os.PathLike, state_dict: Mapping[str, Tensor], meta: dict) -> None:
    """Write ``{'state_dict', 'meta'}``, as mmengine reads it; the file appears complete or not at all."""
    with atomic_write(Path(path)) as file:
        torch.save({'state_dict': dict(state_dict), 'meta': meta}, file)


def save_safetensors(path: str | os.PathLike, state_dict: Mapping[str, Tensor]) -> None:
    """Write weights as ``.safetensors``; the file appears complete or not at all."""
    from safetensors.torch import save

    # tensors that share memory are written one by one, as a checkpoint of torch gives them back
    content = save(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()},
        metadata={'format': 'pt'},
    )
    with atomic_write(Path(path), size=len(content)) as file:
        file.write(content)


def _foreign_source(given: Iterable[str], wanted: Mapping[str, Tensor]) -> str | None:
    """The message for an unconverted GLIP file; None for anything else."""
    given = list(given)
    layout = detect_layout(given)
    if layout is None:
        return None
    unknown = [name for name in given if name not in wanted]
    kind = 'an original GLIP file' if layout.source == 'original' else "a file of mmdet's GLIP"
    return (
        f'Checkpoint has {_tensors(unknown)} this model does not use, for example "{unknown[0]}". '
        f'It looks like {kind}: convert it with tools/model_converters/glip_to_glipv2.py.'
    )


def _misshapen(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    wrong = [
        f'"{name}" has shape {tuple(given[name].shape)}, the model needs {tuple(tensor.shape)}'
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if len(wrong) > NUM_LISTED:
        wrong = [*wrong[:NUM_LISTED], f'and {len(wrong) - NUM_LISTED} more of another shape']
    return wrong


def _counted(what: str, names: Sequence[str]) -> list[str]:
    return [f'{_tensors(names)} {what}: {_listing(names)}'] if names else []


def _tensors(names: Sequence[str]) -> str:
    return f'{len(names)} tensor{"s" if len(names) != 1 else ""}'


def _listing(names: Sequence[str]) -> str:
    more = ', ...' if len(names) > NUM_LISTED else ''
    return ', '.join(f'"{name}"' for name in names[:NUM_LISTED]) + more


def _not_excused(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]
