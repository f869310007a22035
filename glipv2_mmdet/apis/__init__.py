"""What a user calls."""

from .pseudo_labels import LabelSettings, label_shards, read_pairs

__all__ = ['LabelSettings', 'label_shards', 'read_pairs']
