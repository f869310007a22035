"""Pipeline steps between loading a picture and packing it: usable boxes, then a prompt."""

from .build_prompt import BuildPrompt
from .clean_boxes import CleanBoxes

__all__ = ['BuildPrompt', 'CleanBoxes']
