"""Image encoders."""

from glipv2_mmdet.models.backbones.coswin import CoSwin
from glipv2_mmdet.models.backbones.timm_backbone import TimmBackbone
from glipv2_mmdet.models.backbones.timm_swin import TimmSwin

__all__ = ['CoSwin', 'TimmBackbone', 'TimmSwin']
