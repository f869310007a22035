"""The ONNX files find what the detector finds, for any image size and prompt."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from glipv2_mmdet.export import Detections, OnnxDetector
from glipv2_mmdet.export.exportable import exportable
from glipv2_mmdet.export.graphs import ImageTextGraph
from glipv2_mmdet.export.onnx_export import example_inputs
from tests.test_export.conftest import NAMES, torch_result

pytestmark = pytest.mark.slow


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise, so that scaling has something to do and features differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def assert_same(found: Detections, expected) -> None:
    """Every box has its partner: IoU 0.999, score 1e-4; ties may change places."""
    assert len(found.boxes) == len(expected.bboxes) > 5
    np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=1e-4)
    overlap = iou(found.boxes, expected.bboxes) * (found.labels[:, None] == expected.labels)
    partner = overlap.argmax(axis=1)
    assert overlap.max(axis=1).min() >= 0.999
    assert len(set(partner)) == len(partner)
    np.testing.assert_allclose(found.scores, expected.scores[partner], atol=1e-4)
    if 'masks' in expected:
        differing = (found.masks != expected.masks[partner]).sum(axis=(1, 2))
        assert differing.max() <= 0.002 * found.masks[0].size  # a probability that rounds to the threshold
        assert found.masks.any() and not found.masks.all()


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(R, R')."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    sides = (np.minimum(first[:, None, 2:], second[None, :, 2:]) - corner).clip(min=0)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    overlap = sides.prod(axis=2)
    return overlap / (areas[0][:, None] + areas[1] - overlap)


@pytest.mark.parametrize('size', [(90, 120), (150, 61)])
@pytest.mark.parametrize('names', [('dog',), NAMES])
def test_boxes_and_masks_are_those_of_torch_for_other_sizes_and_prompts_than_traced(
    detector, any_prompt_runner, size, names
):
    image = photo(*size)
    assert_same(any_prompt_runner.detect(image, names), torch_result(detector, image, names))


@pytest.mark.parametrize('size', [(90, 120), (150, 61)])
def test_a_fixed_prompt_finds_the_same(detector, fixed_prompt_runner, size):
    image = photo(*size)
    found = fixed_prompt_runner.detect(image)
    assert found.phrases == NAMES
    assert_same(found, torch_result(detector, image, NAMES))


@pytest.mark.parametrize('size', [(32, 32), (32, 160), (224, 96)])
def test_raw_outputs_for_the_smallest_and_for_long_inputs(detector, any_prompt_runner, size):
    graph = ImageTextGraph(exportable(detector))
    inputs = example_inputs(graph, size)
    with torch.no_grad():
        expected = graph(*inputs)
    names = ('token_ids', 'token_mask', 'phrase_map')
    feeds = {name: value.numpy() for name, value in zip(names, inputs[1:], strict=True)}
    for found, value in zip(any_prompt_runner.run(inputs[0].numpy(), feeds), expected, strict=True):
        np.testing.assert_allclose(found, value.numpy(), rtol=1e-3, atol=2e-4)


def test_padded_tokens_change_nothing(detector, any_prompt_runner):
    image = example_inputs(ImageTextGraph(exportable(detector)))[0].numpy()
    tokens = any_prompt_runner.reader(NAMES)
    plain = any_prompt_runner.run(
        image, dict(token_ids=tokens.ids, token_mask=tokens.mask, phrase_map=tokens.phrase_map)
    )
    padded = any_prompt_runner.run(
        image,
        dict(
            token_ids=np.pad(tokens.ids, ((0, 0), (0, 5))),
            token_mask=np.pad(tokens.mask, ((0, 0), (0, 5))),
            phrase_map=np.pad(tokens.phrase_map, ((0, 0), (0, 5))),
        ),
    )
    for first, second in zip(plain[:3], padded[:3], strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)


def test_a_fixed_prompt_leaves_the_text_encoder_out(detector, any_prompt, fixed_prompt):
    vocabulary = detector.language_model.word_embeddings.numel()

    def largest(path: Path) -> int:
        return max(int(np.prod(tensor.dims)) for tensor in onnx.load(str(path)).graph.initializer)

    assert largest(any_prompt) == vocabulary
    assert largest(fixed_prompt) < vocabulary / 5


def test_settings_travel_in_the_file(any_prompt_runner, fixed_prompt_runner):
    settings = any_prompt_runner.settings
    assert settings.phrases == () and fixed_prompt_runner.settings.phrases == NAMES
    assert settings.resize == (128, 96) and settings.resize_with == 'cv2' and settings.pad_divisor == 32
    assert settings.max_per_image == 40 and settings.iou_threshold == 0.6
    assert type(settings).from_json(settings.to_json()) == settings


def test_files_are_valid_onnx_of_opset_17_with_free_sizes(any_prompt):
    for name in ('detector.onnx', 'masks.onnx'):
        model = onnx.load(str(any_prompt.parent / name))
        onnx.checker.check_model(model, full_check=True)
        assert [entry.version for entry in model.opset_import if entry.domain == ''] == [17]
    image = onnx.load(str(any_prompt)).graph.input[0]
    assert [axis.dim_param for axis in image.type.tensor_type.shape.dim[2:]] == ['height', 'width']


def test_the_copied_runner_needs_neither_torch_nor_this_package(any_prompt, any_prompt_runner, tmp_path):
    image = photo(90, 120)
    np.save(tmp_path / 'image.npy', image)
    script = f"""
import json, sys
for name in ('torch', 'torchvision', 'mmdet', 'mmcv', 'mmengine', 'cv2', 'transformers', 'PIL', 'glipv2_mmdet'):
    sys.modules[name] = None
sys.path.insert(0, {str(any_prompt.parent)!r})
import numpy
from glipv2_runtime import OnnxDetector
found = OnnxDetector({str(any_prompt.parent)!r}, threads=1).detect(numpy.load({str(tmp_path / 'image.npy')!r}), 'dog')
print(json.dumps([found.scores.tolist(), found.masks.sum().item()]))
"""
    output = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=False)
    assert output.returncode == 0, output.stderr
    scores, num_pixels = json.loads(output.stdout)
    expected = any_prompt_runner.detect(image, 'dog')
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)
    assert num_pixels == expected.masks.sum()


def test_wrong_inputs_are_refused(any_prompt_runner, fixed_prompt_runner, tmp_path):
    with pytest.raises(ValueError, match=r'shape \(1, 3, 60, 64\).*multiples of 32'):
        any_prompt_runner.run(np.zeros((1, 3, 60, 64), np.float32))
    with pytest.raises(ValueError, match=r'float64 \(4, 4, 3\).*uint8 array'):
        any_prompt_runner.detect(np.zeros((4, 4, 3)), 'dog')
    with pytest.raises(ValueError, match='reads prompts, and none was given'):
        any_prompt_runner.detect(photo(64, 64))
    with pytest.raises(ValueError, match=r'3 fixed phrases \(red circle'):
        fixed_prompt_runner.detect(photo(64, 64), 'dog')
    with pytest.raises(ValueError, match=r'300 names has .* tokens, this model reads 256'):
        any_prompt_runner.detect(photo(64, 64), [f'name {number}' for number in range(300)])
    with pytest.raises(FileNotFoundError, match='glipv2 export'):
        OnnxDetector(tmp_path)
