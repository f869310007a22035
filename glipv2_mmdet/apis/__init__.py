"""What a user calls."""

from .inferencer import GLIPv2Inferencer, MissingHeadError
from .pseudo_labels import LabelSettings, label_shards, read_pairs
from .results import Answer, Caption, Detections, Grounding

__all__ = [
    'Answer', 'Caption', 'Detections', 'GLIPv2Inferencer', 'Grounding', 'LabelSettings', 'MissingHeadError',
    'label_shards', 'read_pairs'
]
