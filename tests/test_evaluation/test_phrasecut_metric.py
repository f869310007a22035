"""PhraseCutMetric on pictures of ten pixels, with every figure worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from glipv2_mmdet.evaluation import PhraseCutMetric

SHAPE = (4, 10)


def strip(start: int, end: int) -> np.ndarray:
    """Columns start to end of the first row."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[0, start:end] = True
    return mask


def rle(mask: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def task(expected, predicted, scores, as_rle=False) -> dict:
    masks = (
        [rle(mask) for mask in predicted]
        if as_rle
        else torch.from_numpy(np.array(predicted, dtype=bool).reshape(-1, *SHAPE))
    )
    return dict(
        task_id=1,
        ori_shape=SHAPE,
        instances=[dict(mask=rle(mask)) for mask in expected],
        pred_instances=dict(scores=torch.tensor(scores), masks=masks),
    )


def evaluate(*tasks, **settings) -> dict[str, float]:
    metric = PhraseCutMetric(**settings)
    metric.process({}, tasks)
    return metric.compute_metrics(metric.results)


@pytest.mark.parametrize('as_rle', [False, True])
def test_figures_of_four_phrases(as_rle):
    figures = evaluate(
        # one object, found: 4 of 5 pixels, 0.8
        task([strip(0, 5)], [strip(0, 4)], [0.9], as_rle),
        # two objects, the union of two detections is theirs and two pixels more: 6 / 8 = 0.75; a third is too weak
        task([strip(0, 3), strip(5, 8)], [strip(0, 4), strip(5, 9), strip(0, 10)], [0.9, 0.5, 0.2], as_rle),
        # found elsewhere: 0 of 4
        task([strip(0, 2)], [strip(6, 8)], [0.9], as_rle),
        # nothing above the threshold: 0 of 2
        task([strip(0, 2)], [strip(0, 2)], [0.3], as_rle),
        score_thr=0.3,
    )
    assert figures['mIoU'] == pytest.approx((0.8 + 0.75) / 4)
    assert figures['cIoU'] == pytest.approx((4 + 6) / (5 + 8 + 4 + 2))
    # strictly above: 0.8 is not above 0.8
    precisions = {t: figures[f'Pr@{t}'] for t in (0.5, 0.6, 0.7, 0.8, 0.9)}
    assert precisions == {0.5: 0.5, 0.6: 0.5, 0.7: 0.5, 0.8: 0.0, 0.9: 0.0}
    assert figures['mIoU_one'] == pytest.approx(0.8 / 3)
    assert figures['mIoU_many'] == pytest.approx(0.75)


def test_overlapping_masks_count_once():
    assert evaluate(task([strip(0, 4)], [strip(0, 3), strip(1, 4)], [0.9, 0.8]))['mIoU'] == 1


def test_fallback_takes_the_best_detection_only_where_none_counts():
    weak = task([strip(0, 4)], [strip(5, 9), strip(0, 4)], [0.1, 0.2])
    strong = task([strip(0, 4)], [strip(0, 4), strip(4, 8)], [0.9, 0.2])
    assert evaluate(weak, strong, score_thr=0.5)['mIoU'] == 0.5
    assert evaluate(weak, strong, score_thr=0.5, top1_fallback=True)['mIoU'] == 1


def test_nothing_found_and_nothing_there_count_as_zero():
    empty = task([strip(0, 4)], [], [])
    assert evaluate(empty, top1_fallback=True)['mIoU'] == 0
    nothing = evaluate(task([strip(0, 0)], [], []))
    assert (nothing['mIoU'], nothing['cIoU']) == (0, 0)
    assert 'mIoU_many' not in nothing


def test_polygons_are_drawn_on_whole_pixels_with_their_outline():
    sample = task([], [np.pad(np.ones((3, 4), dtype=bool), ((0, 1), (1, 5)))], [0.9])
    # corners 1.9 -> 1 and 4.9 -> 4, 0.5 -> 0 and 2.2 -> 2: columns 1-4 and rows 0-2; the line of one point is skipped
    sample['instances'] = [dict(mask=[[1.9, 0.5, 4.9, 0.5, 4.9, 2.2, 1.9, 2.2], [9, 3]])]
    assert evaluate(sample)['mIoU'] == 1


def test_all_polygons_of_an_object_and_all_objects_are_joined():
    sample = task([], [np.ones(SHAPE, dtype=bool)], [0.9])
    halves = [[0, 0, 4, 0, 4, 3, 0, 3], [5, 0, 9, 0, 9, 3, 5, 3]]
    for instances in ([dict(mask=halves)], [dict(mask=halves[:1]), dict(mask=halves[1:])]):
        assert evaluate(sample | dict(instances=instances))['mIoU'] == 1


def test_a_model_without_masks_is_named():
    sample = task([strip(0, 4)], [], [])
    sample['pred_instances'].pop('masks')
    with pytest.raises(ValueError, match=r'task 1 have no masks; .* Evaluate a model with a mask_head'):
        evaluate(sample)
