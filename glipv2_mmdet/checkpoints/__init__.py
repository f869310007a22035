"""Behind the converter scripts: names of foreign weights, and loading that accounts for every tensor."""

from glipv2_mmdet.checkpoints.convert import convert_file, sha256
from glipv2_mmdet.checkpoints.glip_names import (
    CheckpointError,
    Conversion,
    Layout,
    detect_layout,
    to_ours,
    to_source,
)
from glipv2_mmdet.checkpoints.load import (
    TRUST_HELP,
    LoadReport,
    UnsafeCheckpointError,
    check_fits,
    load_weights,
    read_checkpoint,
    save_checkpoint,
    save_safetensors,
    state_dict_of,
)
from glipv2_mmdet.checkpoints.packaged_weights import PretrainedWeightsError
from glipv2_mmdet.checkpoints.text_encoder_names import EncoderConversion, detect_encoder, encoder_to_ours

__all__ = [
    'TRUST_HELP',
    'CheckpointError',
    'Conversion',
    'EncoderConversion',
    'Layout',
    'LoadReport',
    'PretrainedWeightsError',
    'UnsafeCheckpointError',
    'check_fits',
    'convert_file',
    'detect_encoder',
    'detect_layout',
    'encoder_to_ours',
    'load_weights',
    'read_checkpoint',
    'save_checkpoint',
    'save_safetensors',
    'sha256',
    'state_dict_of',
    'to_ours',
    'to_source',
]
