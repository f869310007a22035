"""Small frozen dataclasses that travel between the parts of the model."""
from glipv2_mmdet.structures.answers import Answers
from glipv2_mmdet.structures.fused_features import FusedFeatures
from glipv2_mmdet.structures.grounding import Candidates, GroundingOutputs, GroundingTargets
from glipv2_mmdet.structures.masks import MaskTargets, PromptFeatures
from glipv2_mmdet.structures.text_features import TextFeatures

__all__ = [
    'Answers', 'Candidates', 'FusedFeatures', 'GroundingOutputs', 'GroundingTargets', 'MaskTargets', 'PromptFeatures',
    'TextFeatures'
]
