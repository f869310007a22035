"""What crosses ranks."""
from glipv2_mmdet.dist.gather import exchange_counts, gather_rows, mean_over_ranks

__all__ = ['exchange_counts', 'gather_rows', 'mean_over_ranks']
