"""L_loc: how well boxes fit, and how central the anchors are that claim them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor, nn

from glipv2_mmdet.dist import mean_over_ranks

#: Pixels; no image is larger.
MAX_COORDINATE = 1e7
#: Pixels; far less than the nearest two sides of a box that has anchors.
_SMALLEST = 1e-6


@MODELS.register_module()
class LocalizationLoss(nn.Module):
    """GIoU loss weighted by centerness, and the binary cross entropy of centerness itself.

    Args:
        giou_weight: factor of the box term.
        centerness_weight: factor of the centerness term.

    Source: ATSS (Zhang et al., 2020) with the weights of GLIP; L_loc of GLIPv2.
    """

    def __init__(self, giou_weight: float = 2.0, centerness_weight: float = 1.0) -> None:
        super().__init__()
        self.giou_weight = giou_weight
        self.centerness_weight = centerness_weight

    def forward(
        self, boxes: Tensor, centerness: Tensor, target_boxes: Tensor, anchors: Tensor, num_positive: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both terms over the positive anchors of this rank; exact zeros without any.

        Args:
            boxes: (P, 4) decoded boxes, xyxy.
            centerness: (P,) logits.
            target_boxes: (P, 4).
            anchors: (P, 4) whose centres lie inside their target boxes.
            num_positive: scalar, positive anchors of the batch, averaged over ranks.

        Returns:
            Box term, divided by the sum of centerness targets (averaged over ranks, at least 1), and
            centerness term, divided by ``num_positive``.
        """
        target = centerness_target(anchors, target_boxes)
        total_centerness = mean_over_ranks(target.sum()).clamp(min=1)
        # areas beyond would overflow; such a box has the loss of one far away, and no gradient
        boxes, target_boxes = (x.clamp(-MAX_COORDINATE, MAX_COORDINATE) for x in (boxes, target_boxes))
        giou = bbox_overlaps(boxes, target_boxes, mode='giou', is_aligned=True, eps=1e-7)
        loss_box = self.giou_weight * ((1 - giou) * target).sum() / total_centerness
        # overlaps of no boxes are cut off from the graph, and distributed training waits for every gradient
        loss_box = loss_box + boxes[:0].sum()
        loss_centerness = F.binary_cross_entropy_with_logits(centerness.float(), target, reduction='sum')
        return loss_box, self.centerness_weight * loss_centerness / num_positive


def centerness_target(anchors: Tensor, boxes: Tensor) -> Tensor:
    """How central each anchor lies in its box: (P,) in [0, 1].

    Args:
        anchors: (P, 4) xyxy whose centres lie strictly inside ``boxes``, as ATSS assigns them.
        boxes: (P, 4) xyxy.

    Source: FCOS (Tian et al., 2019), equation 3.
    """
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    near, far = centers - boxes[:, :2], boxes[:, 2:] - centers
    # a box without area is no one's, and an anchor outside is not central at all: 0, not 0 / 0 or the root of -1
    ratios = torch.minimum(near, far).clamp(min=0) / torch.maximum(near, far).clamp(min=_SMALLEST)
    return ratios.prod(dim=1).sqrt()
