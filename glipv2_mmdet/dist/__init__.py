"""What crosses ranks."""
from glipv2_mmdet.dist.gather import mean_over_ranks

__all__ = ['mean_over_ranks']
