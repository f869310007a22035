"""Data sets and transforms; importing this package registers them with mmdet."""
from .caption import CocoCaption
from .detection_as_grounding import DetectionAsGrounding
from .few_shot import FewShotDataset, few_shot_indices
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
from .vqa import VQADataset

__all__ = [
    'BuildPrompt', 'CaptionPrompt', 'CleanBoxes', 'CocoCaption', 'DetectionAsGrounding', 'FewShotDataset',
    'Flickr30kEntities', 'GroundedODVGDataset', 'IndexedODVGDataset', 'LoadMasks', 'LoadStreamedImage',
    'MDETRGroundingDataset', 'MixedSampler', 'PhraseCutDataset', 'ReferringDataset', 'ReplaceFailedSamples', 'TSVPairs',
    'VQADataset', 'WebDatasetPairs', 'WithNegativeCaptions', 'few_shot_indices'
]
