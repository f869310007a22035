"""What a detector found in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detections:
    """Boxes of one image, best first.

    Attributes:
        boxes: (R, 4) float32 xyxy edges in pixels of the image.
        scores: (R,) float32 in [0, 1].
        labels: (R,) int, places in ``phrases``.
        phrases: names of the prompt.
        masks: (R, H, W) bool, or None without a mask head.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    phrases: tuple[str, ...]
    masks: np.ndarray | None = None
