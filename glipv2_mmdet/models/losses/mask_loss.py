"""L_mask: how well word-matched mask logits agree with the object's pixels."""

from __future__ import annotations

import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from glipv2_mmdet.dist import mean_over_ranks


@MODELS.register_module()
class MaskLoss(nn.Module):
    """Binary cross entropy of every pixel of every positive box.

    Args:
        loss_weight: factor of the term in the total.

    Source: GLIPv2 (Zhang et al., 2022), section 3.2; as in Mask R-CNN, on one map per box instead of one per class.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over boxes and pixels, boxes counted over all ranks; an exact zero with a gradient without boxes.

        Args:
            logits: (R, H, W), averaged over the words of each box's phrase.
            targets: (R, H, W) 0/1.
        """
        pixels = F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction='sum')
        num_boxes = mean_over_ranks(pixels.new_tensor(float(len(logits)))).clamp(min=1)
        return self.loss_weight * pixels / (num_boxes * logits.shape[-2] * logits.shape[-1])
