"""Pipeline steps between the record and packing: an image, masks, usable boxes, then a prompt."""

from .build_prompt import BuildPrompt
from .caption_prompt import CaptionPrompt
from .clean_boxes import CleanBoxes
from .load_masks import LoadMasks
from .load_streamed_image import LoadStreamedImage

__all__ = ['BuildPrompt', 'CaptionPrompt', 'CleanBoxes', 'LoadMasks', 'LoadStreamedImage']
