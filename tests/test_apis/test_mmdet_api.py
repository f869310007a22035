"""mmdet's own inference API, unchanged: init_detector, inference_detector, DetInferencer and the visualizer."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine.config import Config

from glipv2_mmdet.text import PromptError

CONFIG = Path(__file__).resolve().parents[2] / 'configs/glipv2/glipv2_nano_shapes_pretrain.py'
PROMPT = 'red circle . blue square'


@pytest.fixture(scope='module')
def config(shapes_dir) -> Config:
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(
        {
            'test_dataloader.dataset.data_root': f'{shapes_dir}/',
            'model.backbone.depths': (1, 1, 1, 1),
            # untrained scores start at 0.01
            'model.test_cfg.score_thr': 0.0,
        }
    )
    return cfg


@pytest.fixture(scope='module')
def checkpoint(config, tmp_path_factory) -> str:
    """Weights as mmengine saves them, with the class names of their data."""
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    file = tmp_path_factory.mktemp('weights') / 'nano.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=config.classes))), file)
    return str(file)


@pytest.fixture(scope='module')
def model(config, checkpoint):
    return init_detector(config, checkpoint, device='cpu', palette='random')


@pytest.fixture(scope='module')
def images(shapes_dir) -> list[str]:
    return [str(file) for file in sorted((shapes_dir / 'images/val').iterdir())[:2]]


def test_inference_detector_finds_what_the_prompt_names(model, images):
    result = inference_detector(model, images[0], text_prompt=PROMPT, custom_entities=True)
    found = result.pred_instances
    height, width = cv2.imread(images[0]).shape[:2]
    assert 0 < len(found) <= 100
    assert set(found.label_names) == {'red circle', 'blue square'}
    assert [('red circle', 'blue square')[label] for label in found.labels] == found.label_names
    assert (found.bboxes >= 0).all() and found.bboxes[:, 2].max() <= width and found.bboxes[:, 3].max() <= height
    assert (found.scores[:-1] >= found.scores[1:]).all()


def test_files_and_arrays_give_equal_boxes_alone_and_in_a_list(config, checkpoint, model, images):
    # a model of its own: mmdet rewrites the pipeline of one that was given an array, and files then fail
    for_arrays = init_detector(copy.deepcopy(config), checkpoint, device='cpu', palette='random')
    both = inference_detector(model, images, text_prompt=PROMPT, custom_entities=True)
    for image, listed in zip(images, both, strict=True):
        for reader, alone in ((model, image), (for_arrays, cv2.imread(image))):
            result = inference_detector(reader, alone, text_prompt=PROMPT, custom_entities=True)
            assert torch.equal(result.pred_instances.bboxes, listed.pred_instances.bboxes)
            assert torch.equal(result.pred_instances.scores, listed.pred_instances.scores)


def test_a_sentence_is_grounded_by_its_noun_phrases(model, images):
    result = inference_detector(model, images[0], text_prompt='a red circle above two blue squares')
    assert set(result.pred_instances.label_names) == {'a red circle', 'two blue squares'}


def test_more_classes_than_a_prompt_holds(model, images):
    names = [
        f'{material} {thing}'
        for material in ('wooden', 'metal', 'glass', 'paper', 'plastic')
        for thing in (
            'chair',
            'table',
            'lamp',
            'cup',
            'spoon',
            'box',
            'door',
            'wheel',
            'bottle',
            'toy',
            'sign',
            'bench',
            'fence',
            'bridge',
            'roof',
            'tower',
            'ladder',
            'clock',
            'basket',
            'tray',
        )
    ]
    result = inference_detector(model, images[0], text_prompt=' . '.join(names), custom_entities=True)
    found = {names[label] for label in result.pred_instances.labels}
    assert list(result.pred_instances.label_names) == [names[label] for label in result.pred_instances.labels]
    assert found & set(names[:40]) and found & set(names[60:])  # first and last prompt of several


@pytest.mark.parametrize('batch_size', [1, 2])
def test_det_inferencer_paints_and_writes_predictions(config, checkpoint, images, tmp_path, batch_size):
    inferencer = DetInferencer(config, checkpoint, device='cpu', palette='random', show_progress=False)
    outputs = inferencer(
        images,
        texts=PROMPT,
        custom_entities=True,
        batch_size=batch_size,
        out_dir=str(tmp_path),
        no_save_pred=False,
        pred_score_thr=0.0,
    )
    assert len(outputs['predictions']) == 2
    assert set(outputs['predictions'][0]) >= {'labels', 'scores', 'bboxes'}
    for image in images:
        painted, plain = cv2.imread(str(tmp_path / 'vis' / Path(image).name)), cv2.imread(image)
        scale = painted.shape[1] // plain.shape[1]  # small scenes are enlarged, and the prompt is written below
        large = cv2.resize(plain, None, fx=scale, fy=scale)
        assert scale == 3 and painted.shape[1] == large.shape[1] and painted.shape[0] > large.shape[0]
        assert np.abs(painted[: len(large)].astype(int) - large).max() > 100
        assert (tmp_path / 'preds' / f'{Path(image).stem}.json').is_file()


@pytest.mark.parametrize('prompt', ['', ' . . ', '?!'])
def test_a_prompt_without_words_is_refused(model, images, prompt):
    with pytest.raises(PromptError, match=r'[Pp]rompt|name'):
        inference_detector(model, images[0], text_prompt=prompt, custom_entities=True)


def test_a_missing_image_is_named(model):
    with pytest.raises(FileNotFoundError, match=r'no/such\.jpg'):
        inference_detector(model, 'no/such.jpg', text_prompt=PROMPT, custom_entities=True)


def test_an_unreadable_image_is_named(model, tmp_path):
    file = tmp_path / 'broken.jpg'
    file.write_bytes(b'\xff\xd8 no picture')
    with pytest.raises((AssertionError, ValueError), match=r'broken\.jpg'):
        inference_detector(model, str(file), text_prompt=PROMPT, custom_entities=True)
