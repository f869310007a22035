"""Data sets and transforms; importing this package registers them with mmdet."""

from glipv2_mmdet.datasets.caption import CocoCaption
from glipv2_mmdet.datasets.coco_detection import GroundedCocoDataset
from glipv2_mmdet.datasets.detection_as_grounding import DetectionAsGrounding
from glipv2_mmdet.datasets.few_shot import FewShotDataset, few_shot_indices
from glipv2_mmdet.datasets.flickr30k_entities import Flickr30kEntities
from glipv2_mmdet.datasets.glip_tsv import TSVPairs
from glipv2_mmdet.datasets.image_text_stream import IndexedODVGDataset, WebDatasetPairs
from glipv2_mmdet.datasets.lvis import GroundedLVISDataset
from glipv2_mmdet.datasets.mdetr_grounding import MDETRGroundingDataset
from glipv2_mmdet.datasets.negative_captions import WithNegativeCaptions
from glipv2_mmdet.datasets.odvg import GroundedODVGDataset
from glipv2_mmdet.datasets.phrasecut import PhraseCutDataset
from glipv2_mmdet.datasets.referring import ReferringDataset
from glipv2_mmdet.datasets.replace_failed import ReplaceFailedSamples
from glipv2_mmdet.datasets.samplers import MixedSampler
from glipv2_mmdet.datasets.transforms import BuildPrompt, CaptionPrompt, CleanBoxes, LoadMasks, LoadStreamedImage
from glipv2_mmdet.datasets.vqa import VQADataset

__all__ = [
    'BuildPrompt',
    'CaptionPrompt',
    'CleanBoxes',
    'CocoCaption',
    'DetectionAsGrounding',
    'FewShotDataset',
    'Flickr30kEntities',
    'GroundedCocoDataset',
    'GroundedLVISDataset',
    'GroundedODVGDataset',
    'IndexedODVGDataset',
    'LoadMasks',
    'LoadStreamedImage',
    'MDETRGroundingDataset',
    'MixedSampler',
    'PhraseCutDataset',
    'ReferringDataset',
    'ReplaceFailedSamples',
    'TSVPairs',
    'VQADataset',
    'WebDatasetPairs',
    'WithNegativeCaptions',
    'few_shot_indices',
]
