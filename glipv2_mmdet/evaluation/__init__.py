"""Metrics that mmdet does not have, or not in the official form; importing this package registers them."""
from .caption_metric import CaptionMetric
from .flickr30k_metric import Flickr30kRecall, GeneratedPhraseRecall
from .lvis_fixed_ap_metric import GroundedLVISMetric
from .phrasecut_metric import PhraseCutMetric
from .refexp_metric import GroundedRefExpMetric
from .shapes_truth_metric import ShapesCaptionTruth
from .vqa_metric import VQAMetric

__all__ = [
    'CaptionMetric', 'Flickr30kRecall', 'GeneratedPhraseRecall', 'GroundedLVISMetric', 'GroundedRefExpMetric',
    'PhraseCutMetric', 'ShapesCaptionTruth', 'VQAMetric'
]
