"""Bi-attention with every projection of the image tokens; shared with the benchmark that races against it."""

from benchmarks.textbook_bi_attention import textbook_bi_attention

__all__ = ['textbook_bi_attention']
