"""Data sets and transforms; importing this package registers them with mmdet."""

from .odvg import GroundedODVGDataset
from .phrasecut import PhraseCutDataset
from .referring import ReferringDataset
from .transforms import BuildPrompt, CleanBoxes, LoadMasks

__all__ = [
    'BuildPrompt', 'CleanBoxes', 'GroundedODVGDataset', 'LoadMasks', 'PhraseCutDataset', 'ReferringDataset'
]
