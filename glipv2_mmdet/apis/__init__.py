"""What a user calls."""

from glipv2_mmdet.apis.inferencer import GLIPv2Inferencer, MissingHeadError
from glipv2_mmdet.apis.pseudo_labels import LabelSettings, label_shards, read_pairs
from glipv2_mmdet.apis.results import Answer, Caption, Detections, Grounding

__all__ = [
    'Answer',
    'Caption',
    'Detections',
    'GLIPv2Inferencer',
    'Grounding',
    'LabelSettings',
    'MissingHeadError',
    'label_shards',
    'read_pairs',
]
