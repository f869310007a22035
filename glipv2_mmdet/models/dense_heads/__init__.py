"""The grounding head."""

from glipv2_mmdet.models.dense_heads.grounding_atss_head import GroundingATSSHead

__all__ = ['GroundingATSSHead']
