"""Pipeline steps between loading a picture and packing it: masks, usable boxes, then a prompt."""

from .build_prompt import BuildPrompt
from .clean_boxes import CleanBoxes
from .load_masks import LoadMasks

__all__ = ['BuildPrompt', 'CleanBoxes', 'LoadMasks']
