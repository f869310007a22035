"""LoadMasks: every form of a mask, and every way it can be broken."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.dataset import Compose
from pycocotools import mask as coco_mask

from glipv2_mmdet.datasets import CleanBoxes, LoadMasks
from glipv2_mmdet.datasets.transforms.load_masks import MaskError

SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]
EXPECTED = np.zeros((8, 10), dtype=np.uint8)
EXPECTED[2:6, 2:6] = 1


def results(*masks, shape=(8, 10)) -> dict:
    instances = [{} if mask is None else {'mask': mask} for mask in masks]
    return dict(img_path='photos/7.jpg', img_id=7, ori_shape=shape, img_shape=shape, instances=instances)


def load(*masks, **settings) -> np.ndarray:
    return LoadMasks(**settings)(results(*masks))['gt_masks'].masks


def run_lengths(mask: np.ndarray, kind: str) -> dict:
    code = coco_mask.encode(np.asfortranarray(mask))
    if kind == 'bytes':
        return code
    if kind == 'text':
        return dict(size=code['size'], counts=code['counts'].decode())
    changes = np.flatnonzero(np.diff(np.concatenate(([0], mask.flatten(order='F'), [2]))))
    return dict(size=list(mask.shape), counts=np.diff(np.concatenate(([0], changes))).tolist())


@pytest.mark.parametrize(
    'mask',
    [
        [SQUARE],
        [[2, 2, 6, 2, 6, 4, 2, 4], [2, 4, 6, 4, 6, 6, 2, 6]],
        run_lengths(EXPECTED, 'bytes'),
        run_lengths(EXPECTED, 'text'),
        run_lengths(EXPECTED, 'list'),
        [SQUARE, run_lengths(EXPECTED, 'text')],
    ],
    ids=['polygon', 'two polygons', 'bytes', 'text', 'uncompressed', 'polygon and run lengths'],
)
def test_every_form_is_the_same_mask(mask):
    assert np.array_equal(load(mask), EXPECTED[None])


def test_polygons_and_run_lengths_may_share_a_picture():
    masks = load([SQUARE], run_lengths(EXPECTED, 'text'))
    assert np.array_equal(masks, np.stack([EXPECTED] * 2))


def test_a_polygon_of_two_points_is_left_out_and_the_rest_kept():
    transform = LoadMasks()
    loaded = transform(results([[2, 2, 6, 2], SQUARE, [1, 1, 2, 2, 3]]))['gt_masks'].masks
    assert np.array_equal(loaded, EXPECTED[None])
    assert transform.counts == dict(polygons=2)


@pytest.mark.parametrize(
    'mask',
    [[[2, 2, 6, 2]], [[20, 20, 30, 20, 30, 30]], run_lengths(0 * EXPECTED, 'text')],
    ids=['two points', 'outside the picture', 'no pixel'],
)
def test_a_mask_without_pixels_is_empty_counted_and_keeps_its_place(mask):
    transform = LoadMasks()
    loaded = transform(results(mask, [SQUARE]))['gt_masks'].masks
    assert np.array_equal(loaded, np.stack([0 * EXPECTED, EXPECTED]))
    assert transform.counts['empty'] == 1


def test_a_box_without_a_mask_names_picture_record_and_instance():
    with pytest.raises(MaskError, match=r'"photos/7.jpg" \(record 7\), instance 1: no mask; .*skip_without_masks'):
        load([SQUARE], None)


def test_pictures_without_any_mask_are_skipped_and_counted_when_asked():
    transform = LoadMasks(skip_without_masks=True)
    assert transform(results(None, [])) is None and transform(results(None)) is None
    assert transform.counts == dict(skipped=2)
    kept = transform(results(None, [SQUARE]))['gt_masks'].masks
    assert np.array_equal(kept, np.stack([0 * EXPECTED, EXPECTED]))
    assert transform.counts == dict(skipped=2, missing=1)


def test_a_picture_without_boxes_is_no_picture_without_masks():
    for skip in (False, True):
        masks = LoadMasks(skip_without_masks=skip)(results())['gt_masks']
        assert isinstance(masks, BitmapMasks) and masks.masks.shape == (0, 8, 10)


@pytest.mark.parametrize('mask', ['polygon', 3, [[[2, 2], [6, 2], [6, 6]]], dict(counts='abc'), [['a'] * 6]])
def test_other_forms_are_refused_with_the_forms_there_are(mask):
    with pytest.raises(MaskError, match=r'instance 0: mask .*; expected a list of polygons \[x1, y1'):
        load(mask)


def test_run_lengths_of_another_picture_size_are_refused():
    with pytest.raises(MaskError, match='run lengths of a picture of 8 x 10; expected 9 x 10'):
        LoadMasks()(results(run_lengths(EXPECTED, 'text'), shape=(9, 10)))


def test_after_a_resize_it_is_too_late():
    late = results([SQUARE])
    late['img_shape'] = (16, 20)
    with pytest.raises(MaskError, match='Put LoadMasks right after LoadAnnotations'):
        LoadMasks()(late)


def test_masks_stay_in_step_with_boxes_that_are_dropped():
    picture = results([SQUARE], [[0, 0, 3, 0, 3, 3]], [[2, 2, 6, 2]])
    # zero area, inside, outside the picture
    picture['gt_bboxes'] = HorizontalBoxes([[2, 2, 2, 6], [0, 0, 3, 3], [20, 20, 30, 30]], dtype=float)
    picture['gt_bboxes_labels'] = np.array([0, 1, 2])
    cleaned = CleanBoxes()(LoadMasks()(picture))
    assert cleaned['gt_bboxes_labels'].tolist() == [1]
    assert cleaned['gt_masks'].masks.shape == (1, 8, 10) and cleaned['gt_masks'].masks[0, 0, 1] == 1


@pytest.fixture
def coco_file(tmp_path):
    """One picture with a polygon, a crowd and an object whose polygon is a line."""
    from PIL import Image

    Image.new('RGB', (10, 8)).save(tmp_path / '7.jpg')
    crowd = run_lengths(np.ones((8, 10), dtype=np.uint8), 'list')
    annotations = [
        dict(id=1, image_id=7, category_id=1, bbox=[2, 2, 4, 4], area=16, iscrowd=0, segmentation=[SQUARE]),
        dict(id=2, image_id=7, category_id=1, bbox=[0, 0, 10, 8], area=80, iscrowd=1, segmentation=crowd),
        dict(id=3, image_id=7, category_id=1, bbox=[2, 2, 4, 2], area=8, iscrowd=0, segmentation=[[2, 2, 6, 4]]),
    ]
    content = dict(
        images=[dict(id=7, file_name='7.jpg', height=8, width=10)],
        annotations=annotations,
        categories=[dict(id=1, name='cat')],
    )
    (tmp_path / 'train.json').write_text(json.dumps(content))
    return tmp_path


def test_crowds_go_and_broken_polygons_keep_their_box(coco_file):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='LoadMasks'),
        dict(type='Resize', scale=(20, 16), keep_ratio=True),
        dict(type='CleanBoxes'),
        dict(type='BuildPrompt', sample=False),
        dict(type='PackDetInputs', meta_keys=('prompt',)),
    ]
    data = DATASETS.build(
        dict(
            type='CocoDataset',
            data_root=str(coco_file),
            ann_file='train.json',
            data_prefix=dict(img=''),
            metainfo=dict(classes=('cat',)),
            return_classes=True,
            pipeline=pipeline,
        )
    )
    sample = data[0]['data_samples']
    assert sample.gt_instances.bboxes.tensor.tolist() == [[4, 4, 12, 12], [4, 4, 12, 8]]
    assert sample.gt_instances.masks.areas.tolist() == [64, 0]
    assert len(sample.ignored_instances) == 1


def test_the_shapes_data_have_a_mask_for_every_box(shapes_dir):
    data = DATASETS.build(
        dict(
            type='GroundedODVGDataset',
            data_root=str(shapes_dir),
            ann_file='annotations/train_odvg.jsonl',
            label_map_file='annotations/label_map.json',
            data_prefix=dict(img='images/train/'),
            pipeline=[],
        )
    )
    load_picture = Compose(
        [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), dict(type='LoadMasks')]
    )
    for index in range(len(data)):
        loaded = load_picture(data.get_data_info(index))
        boxes = loaded['gt_bboxes'].tensor.int().tolist()
        for (x1, y1, x2, y2), mask in zip(boxes, loaded['gt_masks'].masks, strict=True):
            rows, columns = np.nonzero(mask)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [x1, y1, x2, y2]


@pytest.mark.parametrize(
    'mask, message',
    [
        (dict(size=[8, 10], counts=[90]), 'add up to 90 pixels; expected 80'),
        (dict(size=[8, 10], counts=[-5, 85]), 'expected a list of polygons'),
        (dict(size=[8, 10], counts=[10**30]), 'add up to 10'),
        (dict(size=[8, 10], counts='zzzz'), 'expected a list of polygons'),
        (dict(size=[8, 10], counts='é'), 'expected a list of polygons'),
        (dict(size=[8, 10], counts='P' * 500), 'expected a list of polygons'),
        (dict(size=[8, 10], counts='00'), 'add up to 0 pixels'),
        (dict(size=8, counts=[80]), 'expected a list of polygons'),
        ([[float('nan')] * 6], 'far outside'),
        ([[1e30, 0, 1, 1, 2, 2]], 'far outside'),
        ([[1e5, -1e5] * 3 + [0, 0]], 'far outside'),
    ],
)
def test_codes_that_would_end_the_process_are_refused(mask, message):
    with pytest.raises(MaskError, match=f'instance 0: .*{message}'):
        load(mask)
