"""Mask logits of every box and every word; shared with the benchmark that races against it."""

from benchmarks.dense_mask_head import dense_match

__all__ = ['dense_match']
