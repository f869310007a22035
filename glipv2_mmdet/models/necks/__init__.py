"""The vision-language fusion neck."""

from glipv2_mmdet.models.necks.vl_fusion_dyhead import VLFusionDyHead

__all__ = ['VLFusionDyHead']
