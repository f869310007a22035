"""Data sets and transforms; importing this package registers them with mmdet."""

from .odvg import GroundedODVGDataset
from .transforms import BuildPrompt, CleanBoxes

__all__ = ['BuildPrompt', 'CleanBoxes', 'GroundedODVGDataset']
