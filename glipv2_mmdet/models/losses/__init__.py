"""The loss terms, one per file."""

from glipv2_mmdet.models.losses.inter_image_contrast import InterImageContrast
from glipv2_mmdet.models.losses.localization import LocalizationLoss, centerness_target
from glipv2_mmdet.models.losses.mask_loss import MaskLoss
from glipv2_mmdet.models.losses.region_word_focal import RegionWordFocalLoss

__all__ = ['InterImageContrast', 'LocalizationLoss', 'MaskLoss', 'RegionWordFocalLoss', 'centerness_target']
