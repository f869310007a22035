"""Metrics that mmdet does not have, or not in the official form; importing this package registers them."""

from glipv2_mmdet.evaluation.caption_metric import CaptionMetric
from glipv2_mmdet.evaluation.coco_with_nothing import CocoMetricWithNothing
from glipv2_mmdet.evaluation.flickr30k_metric import Flickr30kRecall, GeneratedPhraseRecall
from glipv2_mmdet.evaluation.lvis_fixed_ap_metric import GroundedLVISMetric
from glipv2_mmdet.evaluation.phrasecut_metric import PhraseCutMetric
from glipv2_mmdet.evaluation.refexp_metric import GroundedRefExpMetric
from glipv2_mmdet.evaluation.shapes_truth_metric import ShapesCaptionTruth
from glipv2_mmdet.evaluation.vqa_metric import VQAMetric

__all__ = [
    'CaptionMetric',
    'CocoMetricWithNothing',
    'Flickr30kRecall',
    'GeneratedPhraseRecall',
    'GroundedLVISMetric',
    'GroundedRefExpMetric',
    'PhraseCutMetric',
    'ShapesCaptionTruth',
    'VQAMetric',
]
