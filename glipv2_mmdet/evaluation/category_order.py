"""pycocotools' evaluation with figures by category in the order that was asked for.

pycocotools sorts category ids, and mmdet's table of classes reads the figures by place: without this, names and figures
do not belong together where ids and class names are in different orders.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCOeval, COCOevalMP


class _InAskedOrder:
    """Mix-in: the category axis of the figures follows ``params.catIds`` as it was before the evaluation."""

    def evaluate(self) -> Any:
        self._asked_ids = list(self.params.catIds)
        return super().evaluate()

    def accumulate(self, p: Any = None) -> None:
        super().accumulate(p)
        place_of = {key: place for place, key in enumerate(np.unique(self._asked_ids).tolist())}
        if self.params.useCats and len(place_of) == len(self._asked_ids):
            order = [place_of[key] for key in self._asked_ids]
            # (IoU, recall, category, area, limit), and recall without its second axis
            for figure, axis in (('precision', 2), ('scores', 2), ('recall', 1)):
                self.eval[figure] = np.take(self.eval[figure], order, axis=axis)


class CategoryOrderEval(_InAskedOrder, COCOeval):
    """Evaluation in one process."""


class CategoryOrderEvalMP(_InAskedOrder, COCOevalMP):
    """mmdet's evaluation in several processes."""
