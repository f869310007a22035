"""GroundedRefExpMetric: precision and IoU by hand, real expressions, and records it cannot measure."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmdet.datasets import MDETRStyleRefCocoDataset
from pycocotools import mask as coco_mask

from glipv2_mmdet.evaluation import GroundedRefExpMetric

SIZE = dict(height=20, width=20)
#: A box of 10 x 10 whose left half is the object.
TARGET = dict(category_id=1, iscrowd=0, area=50, bbox=[0, 0, 10, 10], segmentation=[[0, 0, 5, 0, 5, 10, 0, 10]])


def write(folder, *datasets, targets=None) -> str:
    """One expression per name, each for its own copy of the target."""
    images = [dict(id=k, file_name='1.jpg', caption='it', dataset_name=name, **SIZE) for k, name in enumerate(datasets)]
    annotations = targets or [dict(id=k, image_id=k, **TARGET) for k in range(len(datasets))]
    file = folder / 'expressions.json'
    file.write_text(json.dumps(dict(images=images, annotations=annotations, categories=[])))
    return str(file)


def found(img_id, boxes, scores, masks=None) -> dict:
    instances = dict(bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4), scores=torch.tensor(scores))
    return dict(img_id=img_id, pred_instances=instances if masks is None else instances | dict(masks=masks))


def columns(end: int) -> torch.Tensor:
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[:10, :end] = True
    return mask


def evaluate(metric, *samples) -> dict[str, float]:
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


def test_precision_at_k_follows_the_scores_and_counts_half_overlap_as_right(tmp_path):
    metric = GroundedRefExpMetric(write(tmp_path, *['refcoco'] * 4), topk=(1, 2))
    right, half, wrong = [0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4]
    figures = evaluate(
        metric,
        found(0, [wrong, right], [0.2, 0.9]),
        found(1, [wrong, half], [0.9, 0.2]),
        found(2, [wrong], [0.9]),
        found(3, [], []),
    )
    assert figures == {
        'refcoco/precision@1': 0.25,
        'refcoco/precision@2': 0.5,
        'refcoco/giou_precision@1': 0.25,
        'refcoco/giou_precision@2': 0.5,
    }


def test_iou_and_mdetrs_generalised_iou_differ_where_boxes_do_not_fill_the_box_around_both(tmp_path):
    # target 10 x 10; found 10 x 10, moved by 1.5 both ways: IoU 72.25 / 127.75 = 0.566 and the box around both has
    # 132.25, so GIoU = 0.566 - 4.5 / 132.25 = 0.532
    # moved by 1.7: IoU 68.89 / 131.11 = 0.525, GIoU = 0.525 - 5.78 / 136.89 = 0.483
    metric = GroundedRefExpMetric(write(tmp_path, *['refcoco'] * 3), topk=(1, 2))
    near, far = [1.5, 1.5, 11.5, 11.5], [1.7, 1.7, 11.7, 11.7]
    figures = evaluate(
        metric, found(0, [near], [0.9]), found(1, [far], [0.9]), found(2, [far, near, [0, 0, 0, 0]], [0.9, 0.8, 0.7])
    )
    assert figures == {
        'refcoco/precision@1': 1.0,
        'refcoco/precision@2': 1.0,
        'refcoco/giou_precision@1': 1 / 3,
        'refcoco/giou_precision@2': 2 / 3,
    }
    only = GroundedRefExpMetric(write(tmp_path, 'refcoco'), topk=(1,), overlaps=('giou',))
    assert evaluate(only, found(0, [far], [0.9])) == {'refcoco/giou_precision@1': 0.0}
    with pytest.raises(ValueError, match="Overlap 'diou'; expected some of iou, giou"):
        GroundedRefExpMetric(write(tmp_path, 'refcoco'), overlaps=('diou',))


@pytest.mark.parametrize('encode', [False, True])
def test_mask_of_the_best_detection_is_measured(tmp_path, encode):
    metric = GroundedRefExpMetric(write(tmp_path, *['refcoco'] * 3), topk=(1,))

    def masks(*ends):
        stacked = torch.stack([columns(end) for end in ends]) if ends else torch.zeros(0, 20, 20, dtype=torch.bool)
        return [coco_mask.encode(np.asfortranarray(m.numpy().astype(np.uint8))) for m in stacked] if encode else stacked

    box = [0, 0, 10, 10]
    figures = evaluate(
        # 50 of 100 pixels; the worse detection would be perfect
        metric,
        found(0, [box, box], [0.9, 0.8], masks(10, 5)),
        found(1, [box, box], [0.3, 0.8], masks(10, 5)),
        found(2, [], [], masks()),
    )
    assert figures['refcoco/mIoU'] == pytest.approx((0.5 + 1 + 0) / 3)
    assert figures['refcoco/cIoU'] == pytest.approx((50 + 50) / (100 + 50 + 50))


def test_data_sets_of_one_file_are_told_apart(tmp_path):
    metric = GroundedRefExpMetric(write(tmp_path, 'refcoco', 'refcoco+'), topk=(1,), overlaps=('iou',))
    figures = evaluate(metric, found(0, [[0, 0, 10, 10]], [0.9]), found(1, [[5, 5, 10, 10]], [0.9]))
    assert figures == {'refcoco/precision@1': 1.0, 'refcoco+/precision@1': 0.0}


def test_an_expression_for_two_objects_is_refused(tmp_path):
    two = [dict(id=k, image_id=0, **TARGET) for k in range(2)]
    metric = GroundedRefExpMetric(write(tmp_path, 'refcoco', targets=two))
    with pytest.raises(ValueError, match=r'image record 0 has 2 annotations; expected exactly one'):
        evaluate(metric, found(0, [[0, 0, 10, 10]], [0.9]))


@pytest.mark.real_data
def test_real_expressions_in_mdetr_layout_are_read_by_mmdet_and_measured(shared_dir, tmp_path):
    content = json.loads((shared_dir / 'data/refcoco_mini/refs_with_images.json').read_text())
    references = content if isinstance(content, list) else content['refs']
    images, annotations = [], []
    for reference in references:
        for sentence in reference['sentences']:
            number = len(images)
            images.append(
                dict(
                    id=number,
                    file_name=reference['image_file'],
                    caption=sentence,
                    height=reference['height'],
                    width=reference['width'],
                    dataset_name=reference['dataset'],
                )
            )
            annotations.append(
                dict(
                    id=number,
                    image_id=number,
                    category_id=1,
                    iscrowd=0,
                    area=1.0,
                    bbox=reference['bbox'],
                    segmentation=reference['segmentation'],
                )
            )
    (tmp_path / 'real.json').write_text(json.dumps(dict(images=images, annotations=annotations, categories=[])))
    data = MDETRStyleRefCocoDataset(
        data_root=str(tmp_path), ann_file='real.json', data_prefix=dict(img=''), pipeline=[], test_mode=True
    )
    metric = GroundedRefExpMetric(str(tmp_path / 'real.json'))
    samples = []
    for index, annotation in enumerate(annotations):
        info = data.get_data_info(index)
        assert info['text'] == images[index]['caption'] and info['tokens_positive'] == -1
        mask = torch.from_numpy(metric.coco.annToMask(annotation))[None].bool()
        samples.append(found(info['img_id'], [info['instances'][0]['bbox']], [0.5], mask))
    figures = evaluate(metric, *samples)
    assert len(samples) >= 18 and set(figures.values()) == {1.0}
