"""COCO figures that are there also when the model found nothing: 0, not a missing entry.

mmdet's ``CocoMetric`` returns no figure at all then, and everything that waits for one (schedules, the best checkpoint,
early stopping, a report) ends with a ``KeyError``. A base model that finds nothing in a new domain is why one tunes.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class CocoMetricWithNothing(CocoMetric):
    """``CocoMetric`` for boxes and masks with 0 for every figure of a model that finds nothing.

    Args:
        kwargs: of ``CocoMetric``.
    """

    def compute_metrics(self, results: Sequence) -> dict[str, float]:
        """Figures of all results, as in ``CocoMetric``."""
        figures = super().compute_metrics(results)
        if not figures and not self.format_only:
            items = self.metric_items or _ITEMS
            figures = {f'{metric}_{item}': 0.0 for metric in self.metrics for item in items}
        return figures
