"""Small frozen dataclasses that travel between the parts of the model."""

from glipv2_mmdet.structures.answers import Answers
from glipv2_mmdet.structures.captions import PredictedCaption
from glipv2_mmdet.structures.fused_features import EncodedImage, FusedFeatures
from glipv2_mmdet.structures.grounding import Candidates, GroundingOutputs, GroundingTargets
from glipv2_mmdet.structures.key_values import KeyValues
from glipv2_mmdet.structures.masks import MaskTargets, PromptFeatures
from glipv2_mmdet.structures.text_features import TextFeatures

__all__ = [
    'Answers',
    'Candidates',
    'EncodedImage',
    'FusedFeatures',
    'GroundingOutputs',
    'GroundingTargets',
    'KeyValues',
    'MaskTargets',
    'PredictedCaption',
    'PromptFeatures',
    'TextFeatures',
]
