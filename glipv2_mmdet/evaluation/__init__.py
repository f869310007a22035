"""Metrics that mmdet does not have, or not in the official form; importing this package registers them."""

from .phrasecut_metric import PhraseCutMetric
from .refexp_metric import GroundedRefExpMetric
from .vqa_metric import VQAMetric

__all__ = ['GroundedRefExpMetric', 'PhraseCutMetric', 'VQAMetric']
