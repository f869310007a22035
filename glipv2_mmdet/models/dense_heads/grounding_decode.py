"""From raw head outputs to boxes with phrases: scores, best candidates, suppression.

Boxes keep GLIP's "inclusive" right and bottom side until the very end, where one pixel is added.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoderForGLIP
from mmdet.models.utils import filter_scores_and_topk
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from glipv2_mmdet.models.checked_nms import checked_nms
from glipv2_mmdet.models.layers.number_range import warn_not_finite
from glipv2_mmdet.structures import Candidates, GroundingOutputs
from glipv2_mmdet.text import phrase_scores


def select_candidates(
    outputs: GroundingOutputs,
    image: int,
    anchors: Tensor,
    phrase_map: Tensor,
    image_shape: Sequence[int],
    coder: DeltaXYWHBBoxCoderForGLIP,
    cfg: ConfigDict,
) -> Candidates:
    """The best (anchor, phrase) pairs of every level of one image.

    Args:
        outputs: raw outputs of a batch.
        image: which image of the batch.
        anchors: (A, 4).
        phrase_map: (K, T) bool, the words of each phrase.
        image_shape: (H, W) of the image without its padding; boxes are clipped to it.
        coder: box coder.
        cfg: ``score_thr``, below which phrase scores do not count (before centerness), and ``nms_pre``, how many
            pairs a level may keep.
    """
    scores, phrases, anchor_ids = [], [], []
    start = 0
    for size in outputs.level_sizes:
        level = slice(start, start + size)
        word_probs = outputs.word_logits[image, level].float().sigmoid()
        level_scores, level_phrases, level_ids, _ = filter_scores_and_topk(
            phrase_scores(word_probs, phrase_map), cfg.get('score_thr', 0), cfg.get('nms_pre', size)
        )
        centerness = outputs.centerness[image, level].float().sigmoid()
        scores.append((level_scores * centerness[level_ids]).sqrt())
        phrases.append(level_phrases)
        anchor_ids.append(level_ids + start)
        start += size
    anchor_ids = torch.cat(anchor_ids)
    # asked only where nothing was found, since the host would wait for the answer
    if len(anchor_ids) == 0 and not outputs.word_logits[image].isfinite().all():
        warn_not_finite('region-word scores')
    boxes = coder.decode(anchors[anchor_ids], outputs.box_deltas[image, anchor_ids].float(), max_shape=image_shape)
    return Candidates(boxes=boxes, scores=torch.cat(scores), phrases=torch.cat(phrases), anchors=anchor_ids)


def best_regions(
    outputs: GroundingOutputs,
    image: int,
    anchors: Tensor,
    word_map: Tensor,
    image_shape: Sequence[int],
    coder: DeltaXYWHBBoxCoderForGLIP,
) -> tuple[Tensor, Tensor]:
    """The region of one image that matches each word best, whatever the other words have found.

    A word's score at an anchor is the mean of the region-word probabilities of its tokens; centerness does not count
    and nothing is suppressed. For a word of one token that is the anchor of its highest region-word logit, as GLIPv2
    grounds the words of a caption (appendix, grounded captioning). Anchors centred in padding do not take part.

    Args:
        outputs: raw outputs of a batch.
        image: which image of the batch.
        anchors: (A, 4).
        word_map: (W, T) bool, the tokens of each word.
        image_shape: (H, W) of the image without its padding; boxes are clipped to it.
        coder: box coder.

    Returns:
        Boxes (W, 4), xyxy with inclusive right and bottom side in input pixels, and scores (W,).
    """
    scores = phrase_scores(outputs.word_logits[image].float().sigmoid(), word_map)  # (A, W)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    outside = (centers >= centers.new_tensor(image_shape[1::-1])).any(dim=1)
    scores, anchor_ids = scores.masked_fill(outside[:, None], -1).max(dim=0)
    boxes = coder.decode(anchors[anchor_ids], outputs.box_deltas[image, anchor_ids].float(), max_shape=image_shape)
    return boxes, scores


def suppress_prompts(
    chunks: Sequence[Candidates],
    phrase_ids: Sequence[Sequence[int]],
    scale_factor: Sequence[float] | None,
    cfg: ConfigDict,
) -> InstanceData:
    """Final detections of one image over all its prompts, best first.

    Suppression is per phrase, and no phrase is in two prompts, so each prompt is suppressed alone. That is also
    exact: mmcv tells phrases apart by shifting boxes, by a million pixels for a label of 1,000, where float32 has
    steps of an eighth of a pixel.

    Args:
        chunks: candidates per prompt.
        phrase_ids: per prompt, the place of each of its phrases in the full list.
        scale_factor: see :func:`suppress`.
        cfg: see :func:`suppress`, and ``max_per_prompt``: most detections of one prompt (-1 or absent: no limit of
            their own). ``max_per_img`` is that of all prompts.
    """
    of_prompt = ConfigDict({**cfg, 'max_per_img': cfg.get('max_per_prompt', -1)})
    results = []
    for chunk, ids in zip(chunks, phrase_ids, strict=True):
        found = suppress(chunk, scale_factor, of_prompt)
        found.labels = torch.as_tensor(ids, dtype=torch.long, device=found.labels.device)[found.labels]
        results.append(found)
    joined = InstanceData.cat(results)
    joined = joined[joined.scores.sort(descending=True, stable=True).indices]
    max_per_img = cfg.get('max_per_img', -1)
    return joined[:max_per_img] if max_per_img >= 0 else joined


def suppress(candidates: Candidates, scale_factor: Sequence[float] | None, cfg: ConfigDict) -> InstanceData:
    """Final detections of one prompt of an image, best first.

    Args:
        candidates: of the prompt.
        scale_factor: (w, h) input size over original size; boxes are returned in original pixels. None keeps
            them in input pixels.
        cfg: ``min_bbox_size``, ``nms`` (as in mmcv; suppression is per phrase) and ``max_per_img``.

    Returns:
        ``bboxes`` (R, 4) xyxy, ``scores`` (R,), ``labels`` (R,) places in the prompt. What is no number is left out.
    """
    boxes = candidates.boxes
    if scale_factor is not None:
        boxes = boxes / boxes.new_tensor(scale_factor).repeat(2)
    results = InstanceData(bboxes=boxes, scores=candidates.scores, labels=candidates.phrases)
    # NaN would be sorted in front of every number
    wanted = results.scores.isfinite() & boxes.isfinite().all(dim=1)
    if cfg.get('min_bbox_size', -1) >= 0:
        sides = boxes[:, 2:] - boxes[:, :2]
        wanted &= (sides > cfg.min_bbox_size).all(dim=1)
    results = results[wanted]
    if len(boxes) > len(results) == 0 and not (candidates.scores.isfinite().all() and boxes.isfinite().all()):
        warn_not_finite('boxes or their centerness')
    if len(results) > 0:
        detections, keep = checked_nms(results.bboxes, results.scores, results.labels, cfg.nms)
        results = results[keep]
        # soft NMS lowers scores
        results.scores = detections[:, -1]
        max_per_img = cfg.get('max_per_img', -1)
        results = results[:max_per_img] if max_per_img >= 0 else results
    results.bboxes = results.bboxes + results.bboxes.new_tensor([0, 0, 1, 1])
    return results
