"""Data sets and transforms; importing this package registers them with mmdet."""

from .detection_as_grounding import DetectionAsGrounding
from .few_shot import FewShotDataset, few_shot_indices
from .image_text_stream import IndexedODVGDataset, TSVPairs, WebDatasetPairs
from .mdetr_grounding import MDETRGroundingDataset
from .odvg import GroundedODVGDataset
from .phrasecut import PhraseCutDataset
from .referring import ReferringDataset
from .replace_failed import ReplaceFailedSamples
from .samplers import MixedSampler
from .transforms import BuildPrompt, CleanBoxes, LoadMasks, LoadStreamedImage

__all__ = [
    'BuildPrompt', 'CleanBoxes', 'DetectionAsGrounding', 'FewShotDataset', 'GroundedODVGDataset', 'IndexedODVGDataset',
    'LoadMasks', 'LoadStreamedImage', 'MDETRGroundingDataset', 'MixedSampler', 'PhraseCutDataset', 'ReferringDataset',
    'ReplaceFailedSamples', 'TSVPairs', 'WebDatasetPairs', 'few_shot_indices'
]
