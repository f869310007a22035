"""What L_inter sends between ranks in one training step, computed from shapes; nothing is measured here.

Read off ``glipv2_mmdet/models/losses/inter_image_contrast.py`` and ``dist/gather.py``. A rank contributes a block of
n = images x (regions + words) rows, padded to the largest block of all ranks:

* three counts as int64, one all-gather;
* the embeddings, n x 64 float32 whatever the precision of training, one all-gather in the forward pass and one
  reduce-scatter of the same size in the backward pass (gradients of regions and words of other ranks go home);
* the categories of regions and words, n int64, one all-gather.

In a ring every rank sends, and receives, its share to R - 1 others. Latency is not in the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

COUNTS_BYTES = 3 * 8
CATEGORY_BYTES = 8
FLOAT_BYTES = 4
#: Bytes per second.
LINKS = {'100 GbE': 12.5e9, 'NVLink': 300e9}


@dataclass(frozen=True)
class Exchange:
    """One training step.

    Attributes:
        ranks: GPUs.
        images: per rank.
        regions: per image; at most ``max_regions`` of the loss, 100.
        words: tokens of a prompt; at most 256.
        channels: width of the shared space.
    """

    ranks: int
    images: int = 2
    regions: int = 100
    words: int = 256
    channels: int = 64

    @property
    def rows(self) -> int:
        """Regions and words of one rank."""
        return self.images * (self.regions + self.words)

    @property
    def forward_bytes(self) -> int:
        """That one rank sends in the forward pass."""
        return (self.ranks - 1) * (self.rows * (self.channels * FLOAT_BYTES + CATEGORY_BYTES) + COUNTS_BYTES)

    @property
    def backward_bytes(self) -> int:
        """That one rank sends in the backward pass."""
        return (self.ranks - 1) * self.rows * self.channels * FLOAT_BYTES

    @property
    def bytes(self) -> int:
        return self.forward_bytes + self.backward_bytes

    @property
    def logit_bytes(self) -> int:
        """The two similarity matrices that one rank holds: own regions x all words, own words x all regions."""
        return 2 * self.images**2 * self.ranks * self.regions * self.words * FLOAT_BYTES

    def figures(self) -> dict[str, float]:
        """Megabytes, and milliseconds on every link."""
        return dict(
            ranks=self.ranks,
            images=self.images,
            mb_sent=round(self.bytes / 1e6, 2),
            logits_mb=round(self.logit_bytes / 1e6, 2),
            **{f'ms_{link}': round(1000 * self.bytes / speed, 3) for link, speed in LINKS.items()},
        )


def gradient_bytes(num_parameters: int, ranks: int) -> int:
    """What averaging float32 gradients sends per rank in a ring, for comparison."""
    return round(2 * (ranks - 1) / ranks * num_parameters * FLOAT_BYTES)
