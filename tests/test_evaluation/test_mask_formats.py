"""What the detector gives for masks goes through mmdet's metrics, its inferencer and its visualizer."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.evaluation import CocoMetric, LVISMetric
from mmdet.registry import MODELS
from mmdet.structures.mask import BitmapMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from pycocotools import mask as coco_mask

from glipv2_mmdet.models.mask_heads.mask_targets import assign_mask_targets
from glipv2_mmdet.models.mask_heads.paste import paste_bitmaps, paste_rles
from tests.test_models.nano import build_mask_detector, data_sample

CONFIG = 'configs/glipv2/glipv2_nano_shapes_masks.py'
PROMPT = 'red circle . blue square'


def ground_truth(shapes_dir):
    content = json.loads((shapes_dir / 'annotations/val.json').read_text())
    places = {category['id']: k for k, category in enumerate(content['categories'])}
    for image in content['images']:
        rows = [row for row in content['annotations'] if row['image_id'] == image['id']]
        boxes = torch.tensor([row['bbox'] for row in rows], dtype=torch.float32).view(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = np.stack([coco_mask.decode(row['segmentation']) for row in rows])
        yield image, boxes, torch.tensor([places[row['category_id']] for row in rows]), masks


@pytest.mark.parametrize('paste', [paste_bitmaps, paste_rles])
def test_masks_cut_out_and_pasted_back_are_nearly_the_objects(shapes_dir, paste):
    """Targets of 28 x 28 cut out of every object, pasted as predictions: mask AP is the loss of that alone."""
    names = tuple(row['name'] for row in json.loads((shapes_dir / 'annotations/val.json').read_text())['categories'])
    metric = CocoMetric(ann_file=str(shapes_dir / 'annotations/val.json'), metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=names)
    for image, boxes, labels, masks in ground_truth(shapes_dir):
        size = image['height'], image['width']
        inclusive = boxes - torch.tensor([0, 0, 1, 1])
        words = torch.ones(len(boxes), 1, dtype=torch.bool)
        targets = assign_mask_targets(
            [boxes[:0]], [inclusive], [BitmapMasks(masks, *size)], [words], mask_size=28, max_boxes=100, min_overlap=0.5
        )
        assert torch.equal(targets.boxes[0], boxes)
        metric.process(
            {},
            [
                dict(
                    img_id=image['id'],
                    ori_shape=size,
                    pred_instances=dict(
                        bboxes=boxes,
                        labels=labels,
                        scores=torch.ones(len(boxes)),
                        masks=paste(targets.masks, boxes, size, 0.5),
                    ),
                )
            ],
        )
    figures = metric.evaluate(size=len(metric.results))
    assert figures['coco/bbox_mAP'] == 1
    assert figures['coco/segm_mAP'] > 0.9 and figures['coco/segm_mAP_75'] == 1


def test_lvis_metric_takes_the_bitmaps():
    metric = LVISMetric.__new__(LVISMetric)  # its constructor needs the lvis package and a file
    metric._lvis_api, metric.results = object(), []
    masks = paste_bitmaps(torch.ones(1, 28, 28), torch.tensor([[2.0, 2.0, 6.0, 6.0]]), (8, 10), 0.5)
    nothing = paste_bitmaps(torch.ones(0, 28, 28), torch.zeros(0, 4), (8, 10), 0.5)
    for found in (masks, nothing):
        metric.process(
            {},
            [
                dict(
                    img_id=1,
                    ori_shape=(8, 10),
                    pred_instances=dict(
                        bboxes=torch.zeros(len(found), 4),
                        labels=torch.zeros(len(found)),
                        scores=torch.ones(len(found)),
                        masks=found,
                    ),
                )
            ],
        )
    assert [len(result['masks']) for _, result in metric.results] == [1, 0]
    assert coco_mask.area(metric.results[0][1]['masks']).tolist() == [16]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(CONFIG).model).state_dict(), meta={}), file)
    return str(file)


@pytest.mark.slow
def test_inference_detector_and_the_inferencer_give_the_same_masks(shapes_dir, checkpoint, tmp_path):
    photo = str(sorted((shapes_dir / 'images/val').glob('*.jpg'))[0])
    picture = cv2.imread(photo)
    settings = {'model.test_cfg.score_thr': 0.0, 'model.test_cfg.max_per_img': 3}
    model = init_detector(CONFIG, checkpoint, device='cpu', palette='random', cfg_options=settings)
    found = inference_detector(model, photo, text_prompt=PROMPT, custom_entities=True).pred_instances
    assert found.masks.shape == (3, *picture.shape[:2])

    inferencer = DetInferencer(model=CONFIG, weights=checkpoint, device='cpu', palette='random', show_progress=False)
    inferencer.model.test_cfg.update(score_thr=0.0, max_per_img=3)
    results = inferencer(photo, texts=PROMPT, custom_entities=True, out_dir=str(tmp_path), pred_score_thr=0.0)
    (prediction,) = results['predictions']
    decoded = np.stack([coco_mask.decode(rle) for rle in prediction['masks']]).astype(bool)
    assert np.array_equal(decoded, found.masks.numpy())
    (drawn,) = (tmp_path / 'vis').iterdir()
    large = cv2.imread(str(drawn))
    scale = large.shape[1] // picture.shape[1]  # small scenes are enlarged, and the prompt is written below
    assert (large[: scale * len(picture)] != cv2.resize(picture, None, fx=scale, fy=scale)).any()


def test_nothing_found_is_drawn_and_encoded(tmp_path):
    with torch.no_grad():
        (sample,) = build_mask_detector(score_thr=1.0).predict(torch.zeros(1, 3, 64, 64), [data_sample(('cat',))])
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dict(classes=('cat',), palette=[(255, 0, 0)])
    visualizer.add_datasample(
        'x', np.zeros((64, 64, 3), dtype=np.uint8), sample, draw_gt=False, out_file=str(tmp_path / 'x.png')
    )
    assert (tmp_path / 'x.png').is_file()
