"""Heads of tasks that are about words."""
from glipv2_mmdet.models.task_heads.mlm_head import MLMHead

__all__ = ['MLMHead']
