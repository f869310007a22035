"""Metrics that mmdet does not have, or not in the official form; importing this package registers them."""

from .caption_metric import CaptionMetric
from .phrasecut_metric import PhraseCutMetric
from .refexp_metric import GroundedRefExpMetric

__all__ = ['CaptionMetric', 'GroundedRefExpMetric', 'PhraseCutMetric']
