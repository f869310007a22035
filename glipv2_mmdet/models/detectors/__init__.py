"""The detector that joins the parts."""

from glipv2_mmdet.models.detectors.glipv2 import GLIPv2

__all__ = ['GLIPv2']
