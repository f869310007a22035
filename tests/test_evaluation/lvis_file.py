"""Made-up LVIS annotations and detections for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from mmdet.structures.mask import encode_mask_results

HEIGHT, WIDTH = 48, 64


def rectangle(box) -> list[list[float]]:
    """A box (x, y, width, height) as a polygon."""
    x, y, width, height = box
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def write_file(path: Path, images, objects, frequencies) -> Path:
    """LVIS json.

    Args:
        path: of the file.
        images: (id, categories known to be absent, categories not annotated exhaustively).
        objects: (image id, category id, (x, y, width, height)).
        frequencies: 'r', 'c' or 'f' per category; ids count from 1.
    """
    content = dict(
        images=[
            dict(
                id=image,
                height=HEIGHT,
                width=WIDTH,
                neg_category_ids=absent,
                not_exhaustive_category_ids=partly,
                coco_url=f'http://images.cocodataset.org/val2017/{image:012}.jpg',
            )
            for image, absent, partly in images
        ],
        annotations=[
            dict(
                id=k + 1,
                image_id=image,
                category_id=category,
                bbox=list(box),
                area=box[2] * box[3],
                segmentation=rectangle(box),
            )
            for k, (image, category, box) in enumerate(objects)
        ],
        categories=[
            dict(id=k + 1, name=f'thing {k + 1}', frequency=frequency, image_count=1)
            for k, frequency in enumerate(frequencies)
        ],
    )
    path.write_text(json.dumps(content))
    return path


def prediction(image_id: int, labels, boxes, scores, masks=None) -> dict:
    """One sample as metrics get it; boxes are x, y, width, height, masks those of the boxes by default."""
    boxes = torch.tensor(boxes, dtype=torch.float64).view(-1, 4)
    corners = torch.cat((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), dim=1)
    if masks is None:
        masks = np.zeros((len(boxes), HEIGHT, WIDTH), dtype=bool)
        for mask, (left, top, right, bottom) in zip(masks, corners.round().int().tolist(), strict=True):
            mask[top:bottom, left:right] = True
    return dict(
        img_id=image_id,
        pred_instances=dict(
            bboxes=corners,
            labels=torch.tensor(labels, dtype=torch.long),
            scores=torch.tensor(scores, dtype=torch.float64),
            masks=torch.from_numpy(masks),
        ),
    )


def result_rows(samples: list[dict], kind: str) -> list[dict]:
    """The same detections in COCO's result format, in order."""
    rows = []
    for sample in samples:
        found = sample['pred_instances']
        rles = encode_mask_results(found['masks'].numpy())
        for label, box, score, rle in zip(
            found['labels'].tolist(), found['bboxes'].tolist(), found['scores'].tolist(), rles, strict=True
        ):
            left, top, right, bottom = box
            shape = dict(bbox=[left, top, right - left, bottom - top]) if kind == 'bbox' else dict(segmentation=rle)
            rows.append(dict(image_id=sample['img_id'], category_id=label + 1, score=score, **shape))
    return rows
