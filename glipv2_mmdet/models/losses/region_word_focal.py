"""L_intra: every region against every word of its own image's prompt."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss


@MODELS.register_module()
class RegionWordFocalLoss(nn.Module):
    """Sigmoid focal loss over region-word logits.

    Args:
        alpha: weight of the positives against the negatives.
        gamma: how much easy pairs are discounted.
        loss_weight: factor of the term in the total.

    Source: focal loss (Lin et al., 2017), equation 5; word-level targets: GLIP, equation 3; L_intra of GLIPv2.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, targets: Tensor, word_mask: Tensor | None, num_positive: Tensor) -> Tensor:
        """Sum over all pairs, divided by the number of positive anchors.

        Args:
            logits: (B, A, T).
            targets: (B, A, T) 0/1.
            word_mask: (B, T) bool, True on real words; None when all are real. Padding costs nothing.
            num_positive: scalar, positive anchors of the batch, averaged over ranks.
        """
        pairs = sigmoid_focal_loss(logits.float(), targets, self.alpha, self.gamma)
        if word_mask is not None:
            pairs = pairs * word_mask.unsqueeze(1)
        return self.loss_weight * pairs.sum() / num_positive
