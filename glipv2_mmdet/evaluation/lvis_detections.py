"""The best detections of a class over a whole data set, in bounded memory.

For the limit per class *every* detection counts. Figures are computed from those alone whose image was annotated for
the class, one in a hundred on LVIS: of the others only the score is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_ROW = np.dtype([('score', np.float64), ('image', np.int64), ('index', np.int32)])


@dataclass(frozen=True)
class Detection:
    """One box that counts.

    Args:
        image_id: of the annotation file.
        category_id: of the annotation file.
        score: the higher, the better.
        box: x, y, width, height in pixels of the picture.
        mask: COCO run lengths, or None.
        in_image_limit: whether it is among the best of its image, all classes together.
    """

    image_id: int
    category_id: int
    score: float
    box: list[float]
    mask: dict | None
    in_image_limit: bool

    def as_result(self, kind: str) -> dict[str, Any]:
        """A row of COCO's result format.

        A mask goes without its box: the ``lvis`` package takes the size of an object from the box where there is one.
        """
        shape = dict(bbox=self.box) if kind == 'bbox' else dict(segmentation=self.mask)
        return dict(image_id=self.image_id, category_id=self.category_id, score=float(self.score), **shape)


@dataclass
class ClassDetections:
    """Detections of one class.

    Of equal scores the one of the lower image id and lower place in its image is better.

    Args:
        limit: how many count over the whole data set.
    """

    limit: int
    _rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=_ROW))
    _new: list[np.ndarray] = field(default_factory=list)
    _detections: dict[tuple[int, int], Detection] = field(default_factory=dict)

    def add(
        self, image_id: int, places: np.ndarray, scores: np.ndarray, detections: Sequence[Detection] | None
    ) -> None:
        """Adds the detections of an image.

        Args:
            image_id: of the annotation file.
            places: (R,) place of each among the detections of the image; with the image id it makes a detection
                unique, so that adding one twice changes nothing.
            scores: (R,).
            detections: R of them, or None where the image was not annotated for this class.
        """
        rows = np.empty(len(scores), dtype=_ROW)
        rows['score'], rows['image'], rows['index'] = scores, image_id, places
        self._new.append(rows)
        for place, detection in zip(places.tolist(), detections or (), strict=detections is not None):
            self._detections[image_id, place] = detection
        if len(self._rows) + sum(map(len, self._new)) > 2 * self.limit:
            self._prune()

    def best(self) -> list[Detection]:
        """Those within the limit of the class, best first, as far as they count."""
        self._prune()
        keys = zip(self._rows['image'].tolist(), self._rows['index'].tolist(), strict=True)
        return [self._detections[key] for key in keys if key in self._detections]

    def best_of_images(self) -> list[Detection]:
        """Those within the limit of their image, by image and place."""
        return [self._detections[key] for key in sorted(self._detections) if self._detections[key].in_image_limit]

    def merge(self, other: ClassDetections) -> None:
        """Adds the detections of another part of the data."""
        self._new += [other._rows, *other._new]
        self._detections |= other._detections
        self._prune()

    def _prune(self) -> None:
        rows = np.concatenate([self._rows, *self._new])
        rows = rows[np.unique(rows[['image', 'index']], return_index=True)[1]]
        self._rows = rows[np.lexsort((rows['index'], rows['image'], -rows['score']))][: self.limit]
        self._new = []
        kept = set(zip(self._rows['image'].tolist(), self._rows['index'].tolist(), strict=True))
        self._detections = {
            key: detection for key, detection in self._detections.items() if key in kept or detection.in_image_limit
        }


def join(parts: Sequence[dict[int, ClassDetections]], limit: int) -> dict[int, ClassDetections]:
    """Detections by category of several ranks in one; an image that two ranks saw counts once."""
    joined: dict[int, ClassDetections] = {}
    for part in parts:
        for category, detections in part.items():
            joined.setdefault(category, ClassDetections(limit)).merge(detections)
    return joined
