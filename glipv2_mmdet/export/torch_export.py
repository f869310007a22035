"""A detector as a program of ``torch.export``, for one image size and any text length."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from glipv2_mmdet.export.exportable import ExportError, exportable
from glipv2_mmdet.export.graphs import FixedPromptGraph, ImageTextGraph
from glipv2_mmdet.export.onnx_export import example_inputs
from glipv2_mmdet.export.read_settings import read_settings
from glipv2_mmdet.export.runtime.settings import SETTINGS_KEY, Settings
from glipv2_mmdet.models.detectors import GLIPv2

SETTINGS_FILE = f'{SETTINGS_KEY}.json'
_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'


def export_program(
    detector: GLIPv2,
    pipeline: Sequence[Mapping[str, Any]],
    path: str | Path,
    image_size: Sequence[int],
    names: Sequence[str] | None = None,
    fixed: bool = False,
) -> Path:
    """Write a ``.pt2`` file that ``torch.export.load`` reads, without this package.

    Args:
        detector: with its weights.
        pipeline: steps of its test pipeline.
        path: of the file.
        image_size: (H, W) of the network input, padding included.
        names: see :func:`~glipv2_mmdet.export.onnx_export.export_onnx`.
        fixed: see there.

    Raises:
        ExportError: something is not exported, or a side is no multiple of the pad divisor.
    """
    twin = exportable(detector)
    graph = FixedPromptGraph(twin, names) if fixed else ImageTextGraph(twin)
    settings = read_settings(pipeline, detector, graph.phrases if fixed else ())
    if len(image_size) != 2 or any(side <= 0 or side % settings.pad_divisor for side in image_size):
        raise ExportError(
            f'image_size is {tuple(image_size)}. Expected height and width of the network input, both '
            f'multiples of {settings.pad_divisor}.'
        )
    settings = replace(settings, image_size=tuple(image_size))
    shapes = ({},) if fixed else _text_shapes(settings.max_tokens)
    with torch.no_grad():
        program = torch.export.export(graph, example_inputs(graph, image_size), dynamic_shapes=shapes, strict=False)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, str(path), extra_files={SETTINGS_FILE: json.dumps(asdict(settings))})
    return path


def load_program(path: str | Path) -> tuple[ExportedProgram, Settings]:
    """The program and its settings; ``program.module()`` runs it.

    A program is code: load none of a stranger. What is pickled in it is refused all the same, but torch evaluates its
    symbolic sizes as Python. An ONNX file cannot do that.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it was not written by :func:`export_program`.
        pickle.UnpicklingError: it holds objects besides tensors.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'There is no "{path}". Expected a .pt2 file of "glipv2 export --format pt2".')
    extra_files = {SETTINGS_FILE: ''}
    with _weights_only():
        program = torch.export.load(str(path), extra_files=extra_files)
    return program, Settings.from_metadata({SETTINGS_KEY: extra_files[SETTINGS_FILE]}, str(path))


@contextmanager
def _weights_only() -> Iterator[None]:
    """``torch.export.load`` unpickles whatever it cannot read otherwise; this variable of torch overrules that."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = '1'
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before


def _text_shapes(max_tokens: int) -> tuple[dict, ...]:
    tokens, phrases = Dim('tokens', min=3, max=max_tokens), Dim('phrases', min=1, max=max_tokens)
    return {}, {1: tokens}, {1: tokens}, {0: phrases, 1: tokens}
