"""Heads of tasks that are about words."""

from glipv2_mmdet.models.task_heads.caption_head import CaptionHead
from glipv2_mmdet.models.task_heads.mlm_head import MLMHead
from glipv2_mmdet.models.task_heads.vqa_head import VQAHead

__all__ = ['CaptionHead', 'MLMHead', 'VQAHead']
