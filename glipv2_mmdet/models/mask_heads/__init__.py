"""The mask head."""

from glipv2_mmdet.models.mask_heads.hourglass_mask_head import HourglassMaskHead

__all__ = ['HourglassMaskHead']
