"""L_inter: regions of one image against the words of all images of the global batch, before fusion.

Fusion would leak: a fused region has seen its own prompt and could tell it from others without looking. So both sides
are taken as the encoders give them. Positives: :mod:`~glipv2_mmdet.models.losses.label_propagation`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.dist import get_rank
from mmengine.model import BaseModule
from torch import Tensor, nn

from glipv2_mmdet.dist import exchange_counts, gather_rows
from glipv2_mmdet.models.layers.levels import join_levels
from glipv2_mmdet.models.layers.number_range import temperature
from glipv2_mmdet.models.losses.label_propagation import (
    RegionWordLabels,
    box_categories,
    positive_pairs,
    word_categories,
)
from glipv2_mmdet.structures import GroundingTargets, TextFeatures
from glipv2_mmdet.text import TokenizedPrompt


@MODELS.register_module()
class InterImageContrast(BaseModule):
    """Contrast in a small space that regions and words of the whole batch share.

    Public GLIP code has this loss too; it reads fused words, never uses the anchors of an image's first box, and cuts
    the gradient of other ranks. Here the paper is followed in all three.

    Args:
        channels: width of the pyramid levels.
        text_channels: width of the words.
        embed_channels: width of the shared space.
        max_regions: most positive anchors of an image; a random choice where there are more.
        init_log_scale: start of the learned temperature; similarities are divided by its exponential.
        loss_weight: factor of the term in the total.
        init_cfg: as in mmengine.

    Source: GLIPv2, section 3.1 (there the sum of both directions; here half of it, as in the public code).
    """

    def __init__(
        self,
        channels: int = 256,
        text_channels: int = 768,
        embed_channels: int = 64,
        max_regions: int = 100,
        init_log_scale: float = 0.0,
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.max_regions = max_regions
        self.loss_weight = loss_weight
        self.region_projection = nn.Linear(channels, embed_channels)
        self.word_projection = nn.Linear(text_channels, embed_channels)
        self.log_scale = nn.Parameter(torch.full((1,), init_log_scale))

    def forward(
        self,
        levels: Sequence[Tensor],
        text: TextFeatures,
        targets: GroundingTargets,
        tokenized: Sequence[TokenizedPrompt],
        box_labels: Sequence[Sequence[int]],
    ) -> Tensor:
        """The term of this rank; its mean over ranks is the term of the global batch.

        Args:
            levels: (B, C, H, W) maps before fusion.
            text: the encoded prompts; ``embedded`` is read.
            targets: assigned anchors.
            tokenized: the prompt of each image.
            box_labels: per image the phrase of each ground-truth box.
        """
        chosen = self._sample(targets)
        regions = targets.positive[chosen]
        words = _real_words(text)
        num_anchors, num_words = targets.word_targets.shape[1:]
        same_image = (regions // num_anchors).unsqueeze(1) == words // num_words
        annotated = targets.word_targets.flatten(0, 1)[regions][:, words % num_words] > 0
        labels = RegionWordLabels(
            annotated=annotated & same_image,
            same_image=same_image,
            region_categories=_region_categories(targets, tokenized, box_labels)[chosen],
            word_categories=words.new_tensor([category for item in tokenized for category in word_categories(item)]),
        )
        return self.contrast(
            self.embed_regions(join_levels(levels).flatten(0, 1)[regions]),
            self.embed_words(text.embedded.flatten(0, 1)[words]),
            labels,
            sum(targets.num_assigned),
        )

    def embed_regions(self, features: Tensor) -> Tensor:
        """(R, C) to (R, E), of length one."""
        return F.normalize(self.region_projection(features).float(), dim=-1)

    def embed_words(self, features: Tensor) -> Tensor:
        """(W, C) to (W, E), of length one."""
        return F.normalize(self.word_projection(features).float(), dim=-1)

    def contrast(self, regions: Tensor, words: Tensor, labels: RegionWordLabels, num_positive: int) -> Tensor:
        """Cross entropy of own regions over all words and of own words over all regions.

        Args:
            regions: (R, E) embeddings of this rank; R may be 0.
            words: (W, E) embeddings of this rank's real words.
            labels: what they stand for.
            num_positive: positive anchors of this rank before sampling; the divisor is their mean over ranks.
        """
        counts = exchange_counts((len(regions), len(words), num_positive), regions.device)
        rank = get_rank()
        # one gather for both sides: with two, ranks could disagree on the order of their backward collectives
        all_regions, all_words = _gather_both(regions, words, counts)
        region_categories, word_categories = _gather_both(labels.region_categories, labels.word_categories, counts)
        region_positive = positive_pairs(
            labels.annotated,
            labels.same_image,
            labels.region_categories,
            word_categories,
            start=sum(count[1] for count in counts[:rank]),
        )
        word_positive = positive_pairs(
            labels.annotated.T,
            labels.same_image.T,
            labels.word_categories,
            region_categories,
            start=sum(count[0] for count in counts[:rank]),
        )
        # half precision would round the similarities of a large batch
        with torch.autocast(regions.device.type, enabled=False):
            inverse_scale = temperature(-self.log_scale)
            total = multi_positive_cross_entropy(
                regions @ all_words.T * inverse_scale, region_positive
            ) + multi_positive_cross_entropy(words @ all_regions.T * inverse_scale, word_positive)
        # at least one anchor in the *global* batch, however many ranks share it
        divisor = max(sum(count[2] for count in counts), 1) / len(counts)
        return self.loss_weight * total / 2 / divisor

    def _sample(self, targets: GroundingTargets) -> Tensor | slice:
        """Which of the positive anchors take part: all, or at most ``max_regions`` of each image."""
        counts = targets.num_positive
        if max(counts) <= self.max_regions:
            return slice(None)
        device, start, chosen = targets.positive.device, 0, []
        for count in counts:
            chosen.append(start + torch.randperm(count, device=device)[: self.max_regions])
            start += count
        return torch.cat(chosen)


def multi_positive_cross_entropy(logits: Tensor, positive: Tensor) -> Tensor:
    """Sum over rows of the cross entropy with targets spread evenly over a row's positives.

    Args:
        logits: (n, m).
        positive: (n, m) bool. A row without any costs nothing, but takes part in the graph.
    """
    share = positive / positive.sum(dim=1, keepdim=True).clamp(min=1)
    return -(F.log_softmax(logits, dim=1) * share).sum()


def _real_words(text: TextFeatures) -> Tensor:
    """(W,) places of the real words in B * T; found from lengths on the host, so that the device is not asked."""
    num_words = text.mask.shape[1]
    places = [torch.arange(length) + image * num_words for image, length in enumerate(text.lengths)]
    return torch.cat(places).to(text.mask.device)


def _region_categories(
    targets: GroundingTargets, tokenized: Sequence[TokenizedPrompt], box_labels: Sequence[Sequence[int]]
) -> Tensor:
    """(P,) categories of the positive anchors."""
    categories, starts = [], []
    for item, labels, count in zip(tokenized, box_labels, targets.num_positive, strict=True):
        starts += [len(categories)] * count
        categories += box_categories(item.prompt, labels)
    boxes = targets.box_ids
    return boxes.new_tensor(categories)[boxes + boxes.new_tensor(starts)]


def _gather_both(regions: Tensor, words: Tensor, counts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Regions of all ranks and words of all ranks, in rank order."""
    blocks = gather_rows(torch.cat((regions, words)), [count[0] + count[1] for count in counts])
    return (
        torch.cat([block[: count[0]] for block, count in zip(blocks, counts, strict=True)]),
        torch.cat([block[count[0] :] for block, count in zip(blocks, counts, strict=True)]),
    )
