"""Metrics that mmdet does not have, or not in the official form; importing this package registers them."""

from .lvis_fixed_ap_metric import GroundedLVISMetric
from .phrasecut_metric import PhraseCutMetric
from .refexp_metric import GroundedRefExpMetric

__all__ = ['GroundedLVISMetric', 'GroundedRefExpMetric', 'PhraseCutMetric']
