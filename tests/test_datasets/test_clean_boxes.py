"""Boxes that leave the picture or vanish are handled before they reach a loss."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from glipv2_mmdet.datasets.transforms import CleanBoxes, clean_boxes

# Inside, partly outside, fully outside, no height, 0.5 px wide, NaN.
BOXES = np.array(
    [[1, 2, 30, 40], [-5, 10, 20, 70], [100, 0, 120, 20], [5, 9, 20, 9], [3, 3, 3.5, 30], [1, np.nan, 9, 9]],
    dtype=np.float32,
)
KEPT = [[1, 2, 30, 40], [0, 10, 20, 60]]


def _results(boxes=BOXES, masks=None):
    results = {
        'img_shape': (60, 80),
        'img_path': 'a.jpg',
        'gt_bboxes': boxes.copy(),
        'gt_bboxes_labels': np.arange(len(boxes)),
        'gt_ignore_flags': np.arange(len(boxes)) % 2 == 1,
    }
    return results if masks is None else {**results, 'gt_masks': masks}


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(clean_boxes, 'print_log', lambda text, **_: lines.append(text))
    return lines


def test_arrays_and_box_objects_are_cleaned_alike(logged):
    plain = CleanBoxes()(_results())
    assert plain['gt_bboxes'].tolist() == KEPT
    results = _results()
    results['gt_bboxes'] = HorizontalBoxes(torch.from_numpy(BOXES.copy()))
    typed = CleanBoxes()(results)
    assert typed['gt_bboxes'].tensor.tolist() == KEPT
    for cleaned in (plain, typed):
        assert cleaned['gt_bboxes_labels'].tolist() == [0, 1]
        assert cleaned['gt_ignore_flags'].tolist() == [False, True]


@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
def test_masks_go_with_their_boxes(logged, kind):
    if kind == 'bitmap':
        masks = BitmapMasks(np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((60, 80), np.uint8), 60, 80)
    else:
        masks = PolygonMasks([[np.full(6, k)] for k in range(6)], 60, 80)
    kept = CleanBoxes()(_results(masks=masks))['gt_masks']
    values = [m.max() for m in kept.masks] if kind == 'bitmap' else [m[0][0] for m in kept.masks]
    assert values == [0, 1]


def test_each_kind_is_logged_once_and_counted_always(logged):
    transform = CleanBoxes()
    for _ in range(3):
        transform(_results())
    assert transform.counts == {'clipped': 3, 'dropped': 12}
    assert len(logged) == 2
    assert '1 of 6 boxes clipped to the picture in "a.jpg"' in logged[0]
    assert '4 of 6 boxes dropped' in logged[1]


def test_good_boxes_no_boxes_and_no_annotation_pass_unchanged(logged):
    transform = CleanBoxes()
    assert transform(_results(BOXES[:1]))['gt_bboxes'].tolist() == BOXES[:1].tolist()
    assert len(transform(_results(BOXES[:0]))['gt_bboxes']) == 0
    assert transform({'img_shape': (60, 80)}) == {'img_shape': (60, 80)}
    rounding = np.array([[0, 0, 80.01, 60]], dtype=np.float32)
    assert transform(_results(rounding))['gt_bboxes'].tolist() == [[0, 0, 80, 60]]
    assert not logged and not any(transform.counts.values())


def test_all_boxes_may_go(logged):
    cleaned = CleanBoxes(min_size=50)(_results())
    assert cleaned['gt_bboxes'].shape == (0, 4)
    assert cleaned['gt_bboxes_labels'].shape == (0,)


def test_a_size_that_lets_empty_boxes_through_is_refused():
    with pytest.raises(ValueError, match='min_size=0, expected a number above 0'):
        CleanBoxes(min_size=0)
