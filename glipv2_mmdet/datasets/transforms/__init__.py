"""Pipeline steps between the record and packing: an image, usable boxes, then a prompt."""

from .build_prompt import BuildPrompt
from .clean_boxes import CleanBoxes
from .load_streamed_image import LoadStreamedImage

__all__ = ['BuildPrompt', 'CleanBoxes', 'LoadStreamedImage']
