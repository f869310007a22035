"""Encoders, fusion, heads and losses; importing registers them with mmdet."""

from glipv2_mmdet.models.backbones import CoSwin, TimmBackbone, TimmSwin
from glipv2_mmdet.models.dense_heads import GroundingATSSHead
from glipv2_mmdet.models.detectors import GLIPv2
from glipv2_mmdet.models.language_models import BertTextEncoder, CLIPTextEncoder
from glipv2_mmdet.models.losses import InterImageContrast, LocalizationLoss, MaskLoss, RegionWordFocalLoss
from glipv2_mmdet.models.mask_heads import HourglassMaskHead
from glipv2_mmdet.models.necks import VLFusionDyHead
from glipv2_mmdet.models.prompt_tuning import PromptTuning
from glipv2_mmdet.models.task_heads import CaptionHead, MLMHead, VQAHead
from glipv2_mmdet.models.test_time_augs import GroundedTTAModel
from glipv2_mmdet.models.tuned_prompt import TunedPrompt, TunedPromptError, base_fingerprint

__all__ = [
    'BertTextEncoder',
    'CLIPTextEncoder',
    'CaptionHead',
    'CoSwin',
    'GLIPv2',
    'GroundedTTAModel',
    'GroundingATSSHead',
    'HourglassMaskHead',
    'InterImageContrast',
    'LocalizationLoss',
    'MLMHead',
    'MaskLoss',
    'PromptTuning',
    'RegionWordFocalLoss',
    'TimmBackbone',
    'TimmSwin',
    'TunedPrompt',
    'TunedPromptError',
    'VLFusionDyHead',
    'VQAHead',
    'base_fingerprint',
]
