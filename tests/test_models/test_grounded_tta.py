"""Test-time augmentation: views are turned back exactly, and one plain view is the plain test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from torch import nn

from tests.test_models.nano import build_detector, build_mask_detector

HEIGHT, WIDTH = 40, 60
#: Whole-pixel objects (x1, y1, x2, y2) and their phrase.
OBJECTS = ((4, 6, 24, 30, 0), (30, 10, 58, 22, 1), (2, 32, 14, 38, 0))
NAMES = ('cat', 'red car')


class Oracle(nn.Module):
    """A made model that reads the objects off the pixels of each view and answers in original pixels.

    Every object is painted in its own grey; what it sees, it returns as the view shows it.
    """

    def __init__(self, rle: bool = False) -> None:
        super().__init__()
        self.rle = rle
        self.seen = []

    def test_step(self, data):
        results = []
        for picture, sample in zip(data['inputs'], data['data_samples'], strict=True):
            self.seen.append((tuple(picture.shape[1:]), sample.flip))
            sample = sample.clone()
            sample.pred_instances = self.look(picture[0].numpy(), sample)
            results.append(sample)
        return results

    def look(self, grey, sample) -> InstanceData:
        scale_x, scale_y = sample.scale_factor
        boxes, labels, masks = [], [], []
        for k, (*_, label) in enumerate(OBJECTS):
            mask = grey == 100 + k
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            boxes.append(
                [columns[0] / scale_x, rows[0] / scale_y, (columns[-1] + 1) / scale_x, (rows[-1] + 1) / scale_y]
            )
            labels.append(label)
            whole = mask[np.arange(HEIGHT) * mask.shape[0] // HEIGHT][:, np.arange(WIDTH) * mask.shape[1] // WIDTH]
            masks.append(whole)
        found = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.tensor(labels),
            scores=torch.tensor([0.9, 0.8, 0.7]),
            label_names=[NAMES[label] for label in labels],
        )
        found.masks = encode_mask_results(np.stack(masks)) if self.rle else torch.from_numpy(np.stack(masks))
        return found


@pytest.fixture
def picture():
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for k, (left, top, right, bottom, _) in enumerate(OBJECTS):
        image[top:bottom, left:right] = 100 + k
    return image


def views(picture, scales=((60, 40),), flips=(0.0,), direction='horizontal', meta_keys=()):
    """What a test pipeline makes of one picture, as a batch of one."""
    keys = ('img_id', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', *meta_keys)
    augment = TRANSFORMS.build(
        dict(
            type='TestTimeAug',
            transforms=[
                [dict(type='Resize', scale=scale, interpolation='nearest') for scale in scales],
                [dict(type='RandomFlip', prob=prob, direction=direction) for prob in flips],
                [dict(type='PackDetInputs', meta_keys=keys)],
            ],
        )
    )
    return pseudo_collate(
        [
            augment(
                dict(
                    img=picture,
                    img_id=3,
                    img_shape=(HEIGHT, WIDTH),
                    ori_shape=(HEIGHT, WIDTH),
                    text=NAMES,
                    custom_entities=True,
                )
            )
        ]
    )


def tta(module, **cfg):
    cfg = {**dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=100), **cfg}
    return MODELS.build(dict(type='GroundedTTAModel', module=module, tta_cfg=cfg))


def bitmaps(found):
    return (
        np.asarray(found.masks)
        if isinstance(found.masks, torch.Tensor)
        else np.stack([coco_mask.decode(mask).astype(bool) for mask in found.masks])
    )


def expected_masks():
    masks = np.zeros((3, HEIGHT, WIDTH), dtype=bool)
    for mask, (left, top, right, bottom, _) in zip(masks, OBJECTS, strict=True):
        mask[top:bottom, left:right] = True
    return masks


@pytest.mark.parametrize('rle', [False, True], ids=['bitmaps', 'run_lengths'])
@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flips_and_scales_are_turned_back_exactly(picture, direction, rle):
    oracle = Oracle(rle)
    scales, flips = ((60, 40), (120, 80), (180, 120)), (1.0, 0.0)
    (merged,) = tta(oracle).test_step(views(picture, scales, flips, direction))
    assert [size for size, _ in oracle.seen] == [(40, 60), (40, 60), (80, 120), (80, 120), (120, 180), (120, 180)]
    assert [flipped for _, flipped in oracle.seen] == [True, False] * 3
    found = merged.pred_instances
    # six times each object, all in the same place: suppression leaves one
    assert torch.equal(found.bboxes, torch.tensor([box[:4] for box in OBJECTS], dtype=torch.float32))
    assert found.labels.tolist() == [0, 1, 0] and found.label_names == ['cat', 'red car', 'cat']
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert np.array_equal(bitmaps(found), expected_masks())


def test_each_scale_keeps_the_sizes_of_its_range(picture):
    # roots of areas in original pixels: 21.9, 18.3, 8.5; doubled in the second scale
    scales, flips = ((60, 40), (120, 80)), (0.0, 1.0)
    for ranges, labels in (
        (((20, 99), (0, 20)), [0, 0]),
        (((20, 99), (0, 10)), [0]),
        (((0, 99), (0, 1)), [0, 1, 0]),
        (((17, 20), (40, 99)), [0, 1]),
    ):
        (merged,) = tta(Oracle(), area_ranges=ranges).test_step(views(picture, scales, flips))
        assert merged.pred_instances.labels.tolist() == labels, ranges


def test_views_that_do_not_divide_by_the_ranges_are_refused(picture):
    with pytest.raises(ValueError, match=r'2 views and tta_cfg\.area_ranges 3 entries'):
        tta(Oracle(), area_ranges=((0, 1), (0, 1), (0, 1))).test_step(views(picture, flips=(0.0, 1.0)))


def test_the_limit_is_that_of_the_picture(picture):
    (merged,) = tta(Oracle(), max_per_img=2).test_step(views(picture, flips=(0.0, 1.0)))
    assert len(merged.pred_instances) == len(merged.pred_instances.masks) == 2


def test_nothing_found_in_any_view(picture):
    model = tta(Oracle(), area_ranges=((0, 1),))
    (merged,) = model.test_step(views(picture))
    assert len(merged.pred_instances) == 0 and merged.pred_instances.masks.shape == (0, HEIGHT, WIDTH)


@pytest.mark.parametrize('build', [build_detector, build_mask_detector])
def test_one_plain_view_is_the_plain_test(picture, build):
    detector = build(max_per_img=8)
    keys = ('text', 'custom_entities')
    batch = views(picture, ((120, 80),), meta_keys=keys)
    with torch.no_grad():
        (merged,) = tta(detector, max_per_img=8).test_step(batch)
        plain = dict(
            inputs=[view[0] for view in batch['inputs']],
            data_samples=[DetDataSample(metainfo=view[0].metainfo) for view in batch['data_samples']],
        )
        (expected,) = detector.test_step(plain)
    merged, expected = merged.pred_instances, expected.pred_instances
    assert len(expected) == 8
    torch.testing.assert_close(merged.bboxes, expected.bboxes, rtol=0, atol=1e-4)
    assert torch.equal(merged.scores, expected.scores) and torch.equal(merged.labels, expected.labels)
    assert merged.label_names == expected.label_names
    if 'masks' in expected:
        assert torch.equal(merged.masks, expected.masks)


def test_the_shipped_settings_are_those_of_the_public_multi_scale_test():
    config = Config.fromfile('configs/_base_/tta.py')
    resizes, flips, _ = config.tta_pipeline[-1].transforms
    assert [resize.scale[0] for resize in resizes] == [400, 500, 600, 640, 700, 900, 1000, 1100, 1200, 1300, 1400, 1800]
    assert {resize.scale[1] for resize in resizes} == {2500}
    assert [flip.prob for flip in flips] == [0.0, 1.0]
    assert len(config.tta_model.tta_cfg.area_ranges) == len(resizes)
    # short side 800 of a long picture stops at the long side, like GLIP's resizing
    tall = np.zeros((1000, 250, 3), dtype=np.uint8)
    result = TRANSFORMS.build(resizes[-1])(dict(img=tall, img_shape=tall.shape[:2]))
    assert result['img'].shape[:2] == (2500, 625)
