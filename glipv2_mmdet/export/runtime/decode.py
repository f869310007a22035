"""From the outputs of the graph to final boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glipv2_mmdet.export.runtime.settings import Settings


def final_boxes(
    boxes: np.ndarray,
    phrase_probs: np.ndarray,
    centerness: np.ndarray,
    image_size: Sequence[int],
    input_size: Sequence[int],
    original_size: Sequence[int],
    settings: Settings,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best pairs of every level, clipped, suppressed per phrase, in pixels of the original image.

    Args:
        boxes: (A, 4) xyxy with inclusive right and bottom side.
        phrase_probs: (A, K).
        centerness: (A,).
        image_size: (H, W) of the image in the input, without the padding.
        input_size: (H, W) of the input.
        original_size: (H, W) of the image that boxes are to be in.
        settings: of the model.

    Returns:
        Boxes (R, 4) xyxy edges, scores (R,) and labels (R,), best first.
    """
    anchors, labels = best_pairs(phrase_probs, input_size, settings)
    scores = np.sqrt(phrase_probs[anchors, labels] * centerness[anchors])
    height, width = image_size
    boxes = boxes[anchors].clip(0, np.float32([width - 1, height - 1] * 2))
    factors = np.float32([width / original_size[1], height / original_size[0]] * 2)
    boxes = boxes / factors
    if settings.min_box_size >= 0:
        large = ((boxes[:, 2:] - boxes[:, :2]) > settings.min_box_size).all(axis=1)
        boxes, scores, labels = boxes[large], scores[large], labels[large]
    order = np.argsort(-scores, kind='stable')
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    kept = suppress(boxes, labels, settings.iou_threshold)
    kept = kept[: settings.max_per_image] if settings.max_per_image >= 0 else kept
    return boxes[kept] + np.float32([0, 0, 1, 1]), scores[kept], labels[kept]


def best_pairs(
    phrase_probs: np.ndarray, input_size: Sequence[int], settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (R,) and phrases (R,) of the best pairs of every level."""
    anchors, labels, start = [], [], 0
    for size in level_sizes(input_size, settings.strides):
        positions, phrases = np.nonzero(phrase_probs[start : start + size] > settings.score_thr)
        order = np.argsort(-phrase_probs[start + positions, phrases], kind='stable')
        order = order[: settings.nms_pre] if settings.nms_pre >= 0 else order
        anchors.append(start + positions[order])
        labels.append(phrases[order])
        start += size
    return np.concatenate(anchors), np.concatenate(labels)


def level_sizes(input_size: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Positions of each level."""
    height, width = input_size
    return [-(-height // stride) * -(-width // stride) for stride in strides]


def suppress(boxes: np.ndarray, labels: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Places of the boxes that stay; boxes are sorted, best first, and compete with those of their phrase only."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    alive = np.ones(len(boxes), dtype=bool)
    for label in np.unique(labels):
        remaining = np.flatnonzero(labels == label)
        while len(remaining) > 1:
            best, remaining = remaining[0], remaining[1:]
            first = np.maximum(boxes[best, :2], boxes[remaining, :2])
            last = np.minimum(boxes[best, 2:], boxes[remaining, 2:])
            overlap = (last - first).clip(min=0).prod(axis=1)
            union = areas[best] + areas[remaining] - overlap
            iou = overlap / np.maximum(union, np.finfo(union.dtype).tiny)
            too_close = iou.astype(np.float64) > iou_threshold  # an IoU in float32 against a double, as torchvision's
            alive[remaining[too_close]] = False
            remaining = remaining[~too_close]
    return np.flatnonzero(alive)
