"""ONNX files of a detector, traced once, for every image size and text length.

Traced by TorchScript's exporter: it records sizes as operations and asks nothing about them. The newer exporter has to
prove that padded windows fit together for all sizes, which for Swin it had not done after eight minutes, at nano scale.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from glipv2_mmdet import image_reading
from glipv2_mmdet.export import runtime
from glipv2_mmdet.export.exportable import ExportError, exportable
from glipv2_mmdet.export.graphs import FixedPromptGraph, ImageTextGraph, MaskGraph, phrase_shares
from glipv2_mmdet.export.read_settings import read_settings
from glipv2_mmdet.export.runtime.detector import MASKS_FILE
from glipv2_mmdet.export.runtime.settings import SETTINGS_KEY, TOKENIZER_KEY
from glipv2_mmdet.models.detectors import GLIPv2
from glipv2_mmdet.text import prompt_from_classes

OPSET = 17
DETECTOR_FILE = 'detector.onnx'
#: Where the runner lies beside the model.
RUNTIME_FOLDER = 'glipv2_runtime'
#: Sides of the image that is traced; any would do.
EXAMPLE_SIZE = (64, 96)
EXAMPLE_NAMES = ('red circle', 'square')
#: Inputs of the graphs and their free axes.
FIXED_PROMPT_AXES = {'image': {2: 'height', 3: 'width'}}
IMAGE_TEXT_AXES = {
    **FIXED_PROMPT_AXES,
    'token_ids': {1: 'tokens'},
    'token_mask': {1: 'tokens'},
    'phrase_map': {0: 'phrases', 1: 'tokens'},
}
#: Torch versions whose exporter has a successor ask which one is meant.
EXPORTER = {'dynamo': False} if 'dynamo' in signature(torch.onnx.export).parameters else {}


def export_onnx(
    detector: GLIPv2,
    pipeline: Sequence[Mapping[str, Any]],
    folder: str | Path,
    names: Sequence[str] | None = None,
    fixed: bool = False,
) -> Path:
    """Write ``detector.onnx``, with a mask head ``masks.onnx``, and the runner.

    Args:
        detector: with its weights.
        pipeline: steps of its test pipeline; how it scales images goes into the metadata.
        folder: is made; files of an earlier export are replaced.
        names: class names that are folded in, see ``fixed``.
        fixed: fold a prompt in: ``names``, or the tuned prompt of the detector. Otherwise the model reads any prompt.

    Returns:
        Path of ``detector.onnx``.

    Raises:
        ExportError: the detector or config has something that is not exported; or names without ``fixed``.
        ImportError: the package ``onnx`` is not installed.
    """
    onnx = _onnx()
    if names is not None and not fixed:
        raise ExportError(
            f'{len(names)} names were given for a model that reads any prompt. Set fixed=True to fold them in.'
        )
    folder = Path(folder)
    twin = exportable(detector)
    graph = FixedPromptGraph(twin, names) if fixed else ImageTextGraph(twin)
    settings = read_settings(pipeline, detector, graph.phrases if fixed else ())
    inputs = example_inputs(graph)
    folder.mkdir(parents=True, exist_ok=True)
    levels = [f'level_{number}' for number in range(len(settings.strides))]
    features = [] if twin.mask_head is None else ['phrase_map'] * fixed + ['words'] + levels
    path = folder / DETECTOR_FILE
    _trace(
        graph,
        inputs,
        path,
        FIXED_PROMPT_AXES if fixed else IMAGE_TEXT_AXES,
        ['boxes', 'phrase_probs', 'centerness', *features],
    )
    tokenizer = {} if fixed else {TOKENIZER_KEY: twin.language_model.tokenizer.tokenizer.backend_tokenizer.to_str()}
    _add_metadata(onnx, path, {SETTINGS_KEY: settings.to_json(), **tokenizer})
    (folder / MASKS_FILE).unlink(missing_ok=True)
    if twin.mask_head is not None:
        _export_masks(onnx, twin, graph, inputs, levels, folder / MASKS_FILE)
    copy_runtime(folder)
    return path


def example_inputs(graph: nn.Module, image_size: Sequence[int] = EXAMPLE_SIZE) -> tuple[Tensor, ...]:
    """Small inputs of a graph: an image, and a prompt where it reads one."""
    image = torch.randn(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    if isinstance(graph, FixedPromptGraph):
        return (image,)
    prompt = prompt_from_classes(EXAMPLE_NAMES)
    tokenizer = graph.detector.language_model.tokenizer
    tokens = tokenizer.collate([tokenizer(prompt)])
    return (image, tokens.input_ids, tokens.mask, phrase_shares(graph.detector, prompt, tokens.input_ids.shape[1]))


def copy_runtime(folder: Path) -> None:
    """Put the runner, which needs nothing of this package, beside a model: its files import each other by its name."""
    target = folder / RUNTIME_FOLDER
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    names = {runtime.__name__: RUNTIME_FOLDER, image_reading.__name__: f'{RUNTIME_FOLDER}.image_reading'}
    for file in (*sorted(Path(runtime.__file__).parent.glob('*.py')), Path(image_reading.__file__)):
        text = file.read_text(encoding='utf-8')
        for name, new_name in names.items():
            text = text.replace(f'from {name}', f'from {new_name}')
        (target / file.name).write_text(text, encoding='utf-8')


def _export_masks(
    onnx: ModuleType, twin: GLIPv2, graph: nn.Module, inputs: Sequence[Tensor], levels: Sequence[str], path: Path
) -> None:
    with torch.no_grad():
        outputs = graph(*inputs)
    words, features = outputs[-len(levels) - 1], outputs[-len(levels) :]
    boxes = torch.tensor([[2.0, 3.0, 40.0, 50.0], [0.0, 0.0, 64.0, 64.0]])
    word_map = torch.full((2, words.shape[1]), 1 / words.shape[1])
    used = levels[: twin.mask_head.roi_extractor.num_inputs]
    axes = dict(
        words={1: 'tokens'},
        boxes={0: 'regions'},
        word_map={0: 'regions', 1: 'tokens'},
        **{name: {2: f'height_{name}', 3: f'width_{name}'} for name in used},
    )
    _trace(MaskGraph(twin), (words, boxes, word_map, *features[: len(used)]), path, axes, ['masks'])
    _add_metadata(onnx, path, {})


def _trace(
    graph: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    axes: Mapping[str, Mapping[int, str]],
    outputs: Sequence[str],
) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        # the tracer warns of every size it sees compared, and of its successor
        warnings.simplefilter('ignore')
        torch.onnx.export(
            graph,
            tuple(inputs),
            str(path),
            input_names=list(axes),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            **EXPORTER,
        )


def _add_metadata(onnx: ModuleType, path: Path, metadata: dict[str, str]) -> None:
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _onnx() -> ModuleType:
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            'Exporting to ONNX needs the package onnx. Install it: pip install "glipv2_mmdet[export]"'
        ) from error
    return onnx
