"""Test-time augmentation; importing this package registers it with mmdet."""

from glipv2_mmdet.models.test_time_augs.grounded_tta import GroundedTTAModel

__all__ = ['GroundedTTAModel']
