"""Pipeline steps between the record and packing: an image, masks, usable boxes, then a prompt."""

from glipv2_mmdet.datasets.transforms.build_prompt import BuildPrompt
from glipv2_mmdet.datasets.transforms.caption_prompt import CaptionPrompt
from glipv2_mmdet.datasets.transforms.clean_boxes import CleanBoxes
from glipv2_mmdet.datasets.transforms.load_masks import LoadMasks
from glipv2_mmdet.datasets.transforms.load_streamed_image import LoadStreamedImage

__all__ = ['BuildPrompt', 'CaptionPrompt', 'CleanBoxes', 'LoadMasks', 'LoadStreamedImage']
