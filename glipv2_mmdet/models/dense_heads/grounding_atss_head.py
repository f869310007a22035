"""The grounding head: classification as matching regions with words.

In: fused levels and words. Out: region-word scores, boxes and centerness. No layer has one output per class.
Source: GLIP (Li et al., 2022), section 3.1; GLIPv2 (Zhang et al., 2022), section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmcv.cnn import Scale
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from glipv2_mmdet.dist import mean_over_ranks
from glipv2_mmdet.models.dense_heads.grounding_decode import best_regions, select_candidates, suppress_prompts
from glipv2_mmdet.models.dense_heads.grounding_targets import assign_targets
from glipv2_mmdet.models.layers.levels import join_levels
from glipv2_mmdet.models.layers.number_range import temperature, unit_length, within_half
from glipv2_mmdet.structures import Candidates, FusedFeatures, GroundingOutputs, GroundingTargets

ANCHORS = dict(
    type='AnchorGenerator',
    ratios=[1.0],
    octave_base_scale=8,
    scales_per_octave=1,
    strides=[8, 16, 32, 64, 128],
    center_offset=0.5,
)
BOX_CODER = dict(type='DeltaXYWHBBoxCoderForGLIP', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2])
WORD_LOSS = dict(type='RegionWordFocalLoss')
BOX_LOSS = dict(type='LocalizationLoss')
ASSIGNER = dict(type='ATSSAssigner', topk=9, iou_calculator=dict(type='BboxOverlaps2D_GLIP'))


@MODELS.register_module()
class GroundingATSSHead(BaseModule):
    """Region-word scores, boxes and centerness over a pyramid; targets by ATSS.

    Args:
        channels: width of the levels.
        text_channels: width of the words.
        anchor_generator: one square anchor per position by default.
        bbox_coder: mmdet's coder for GLIP's inclusive boxes by default.
        assigner: mmdet's ATSS by default.
        loss_word: L_intra.
        loss_box: L_loc.
        prior_prob: score that every pair starts from.
        init_log_scale: start of the learned temperature; logits are divided by its exponential. GLIP starts at 0;
            a short run from scratch needs sharper logits from the beginning.
        test_cfg: ``nms_pre``, ``score_thr``, ``min_bbox_size``, ``nms``, ``max_per_img``.
        init_cfg: as in mmengine.
    """

    def __init__(
        self,
        channels: int = 256,
        text_channels: int = 768,
        anchor_generator: dict = ANCHORS,
        bbox_coder: dict = BOX_CODER,
        assigner: dict = ASSIGNER,
        loss_word: dict = WORD_LOSS,
        loss_box: dict = BOX_LOSS,
        prior_prob: float = 0.01,
        init_log_scale: float = 0.0,
        test_cfg: ConfigDict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.test_cfg = test_cfg
        self.anchor_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.assigner = TASK_UTILS.build(assigner)
        self.loss_word = MODELS.build(loss_word)
        self.loss_box = MODELS.build(loss_box)

        self.box = nn.Conv2d(channels, 4, 1)
        self.centerness = nn.Conv2d(channels, 1, 1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.anchor_generator.num_levels))
        self.text_projection = nn.Linear(text_channels, channels)
        self.log_scale = nn.Parameter(torch.full((1,), init_log_scale))
        self.bias_lang = nn.Parameter(torch.zeros(text_channels))
        self.bias0 = nn.Parameter(torch.full((1,), -math.log((1 - prior_prob) / prior_prob)))

    def forward(self, fused: FusedFeatures) -> GroundingOutputs:
        """Score every position against every word, and give it a box."""
        levels = fused.levels
        if len(levels) != len(self.scales):
            raise ValueError(
                f'The neck gives {len(levels)} levels, the anchor generator of the head has {len(self.scales)} '
                'strides. Make num_outs of the neck and strides of the anchor generator agree.'
            )
        return GroundingOutputs(
            word_logits=self._word_logits(levels, fused.words),
            box_deltas=within_half(
                join_levels(scale(self.box(level)) for scale, level in zip(self.scales, levels, strict=True))
            ),
            centerness=within_half(join_levels(self.centerness(level) for level in levels)).squeeze(-1),
            level_shapes=tuple(tuple(level.shape[-2:]) for level in levels),
        )

    def _word_logits(self, levels: Sequence[Tensor], words: Tensor) -> Tensor:
        """(B, A, T). Words are normalised, then halved before the projection (not for the bias); regions are not."""
        words = unit_length(words)
        projected = self.text_projection(words / 2) / temperature(self.log_scale)  # (B, T, C)
        bias = words @ self.bias_lang + self.bias0  # (B, T)
        logits = torch.baddbmm(bias.unsqueeze(1).to(projected.dtype), join_levels(levels), projected.transpose(1, 2))
        return within_half(logits)

    def assign(
        self, outputs: GroundingOutputs, gt_boxes: Sequence[Tensor], positive_maps: Sequence[Tensor]
    ) -> GroundingTargets:
        """Targets for ``outputs``; see :func:`assign_targets`."""
        anchors = self.anchors(outputs)
        return assign_targets(self.assigner, anchors, outputs.level_sizes, gt_boxes, positive_maps)

    def loss(self, outputs: GroundingOutputs, targets: GroundingTargets, word_mask: Tensor | None) -> dict[str, Tensor]:
        """L_intra and the two terms of L_loc, normalised over all ranks.

        Args:
            outputs: raw outputs.
            targets: from :meth:`assign`.
            word_mask: (B, T) bool, True on real words; None when all are real.
        """
        # an image without any box counts as one, so that a batch of negatives is not weighted without bound
        num_assigned = sum(max(count, 1) for count in targets.num_assigned)
        num_positive = mean_over_ranks(targets.word_targets.new_tensor(float(num_assigned)))
        loss_word = self.loss_word(outputs.word_logits, targets.word_targets, word_mask, num_positive)

        # one pixel goes back onto the anchors before decoding
        anchors = torch.cat((targets.anchors[:, :2], targets.anchors[:, 2:] + 1), dim=1)
        deltas = outputs.box_deltas.flatten(0, 1)[targets.positive].float()
        loss_box, loss_centerness = self.loss_box(
            self.bbox_coder.decode(anchors, deltas),
            outputs.centerness.flatten()[targets.positive],
            targets.boxes,
            targets.anchors,
            num_positive,
        )
        return dict(loss_cls=loss_word, loss_bbox=loss_box, loss_centerness=loss_centerness)

    def anchors(self, outputs: GroundingOutputs) -> Tensor:
        """(A, 4) anchors of all levels, xyxy."""
        levels = self.anchor_generator.grid_priors(
            outputs.level_shapes, dtype=torch.float32, device=outputs.box_deltas.device
        )
        return torch.cat(levels)

    def candidates(
        self,
        outputs: GroundingOutputs,
        phrase_maps: Sequence[Tensor],
        image_shapes: Sequence[Sequence[int]],
        cfg: ConfigDict | None = None,
    ) -> list[Candidates]:
        """Scored boxes per image of the batch, before suppression.

        Args:
            outputs: raw outputs.
            phrase_maps: per image (K, T) bool, the words of each phrase.
            image_shapes: per image (H, W) without padding.
            cfg: test settings; those of the constructor by default.
        """
        anchors = self.anchors(outputs)
        return [
            select_candidates(outputs, i, anchors, phrase_map, shape, self.bbox_coder, cfg or self.test_cfg)
            for i, (phrase_map, shape) in enumerate(zip(phrase_maps, image_shapes, strict=True))
        ]

    def word_regions(
        self,
        outputs: GroundingOutputs,
        image: int,
        word_map: Tensor,
        image_shape: Sequence[int],
        scale_factor: Sequence[float] | None,
    ) -> tuple[Tensor, Tensor]:
        """The best region of each word, boxes (W, 4) as :meth:`detections` gives them and scores (W,).

        Args:
            outputs: raw outputs.
            image: which image of the batch.
            word_map: (W, T) bool, the tokens of each word.
            image_shape: (H, W) without padding.
            scale_factor: (w, h) input size over original size, for boxes in original pixels; None keeps input pixels.
        """
        boxes, scores = best_regions(outputs, image, self.anchors(outputs), word_map, image_shape, self.bbox_coder)
        if scale_factor is not None:
            boxes = boxes / boxes.new_tensor(scale_factor).repeat(2)
        return boxes + boxes.new_tensor([0, 0, 1, 1]), scores

    def detections(
        self,
        chunks: Sequence[Candidates],
        phrase_ids: Sequence[Sequence[int]],
        scale_factor: Sequence[float] | None,
        cfg: ConfigDict | None = None,
    ) -> InstanceData:
        """Final boxes of one image from the candidates of all its prompts; see :func:`suppress_prompts`."""
        return suppress_prompts(chunks, phrase_ids, scale_factor, cfg or self.test_cfg)
