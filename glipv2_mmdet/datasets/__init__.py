"""Data sets and transforms; importing this package registers them with mmdet."""

from .caption import CocoCaption
from .detection_as_grounding import DetectionAsGrounding
from .flickr30k_entities import Flickr30kEntities
from .glip_tsv import TSVPairs
from .image_text_stream import IndexedODVGDataset, WebDatasetPairs
from .mdetr_grounding import MDETRGroundingDataset
from .negative_captions import WithNegativeCaptions
from .odvg import GroundedODVGDataset
from .phrasecut import PhraseCutDataset
from .referring import ReferringDataset
from .replace_failed import ReplaceFailedSamples
from .samplers import MixedSampler
from .transforms import BuildPrompt, CaptionPrompt, CleanBoxes, LoadMasks, LoadStreamedImage

__all__ = [
    'BuildPrompt', 'CaptionPrompt', 'CleanBoxes', 'CocoCaption', 'DetectionAsGrounding', 'Flickr30kEntities',
    'GroundedODVGDataset', 'IndexedODVGDataset', 'LoadMasks', 'LoadStreamedImage', 'MDETRGroundingDataset',
    'MixedSampler', 'PhraseCutDataset', 'ReferringDataset', 'ReplaceFailedSamples', 'TSVPairs', 'WebDatasetPairs',
    'WithNegativeCaptions'
]
