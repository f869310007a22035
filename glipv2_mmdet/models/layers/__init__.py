"""What the neck and the heads are made of."""

from glipv2_mmdet.models.layers.bi_attention import BiAttention
from glipv2_mmdet.models.layers.deform_conv import modulated_deform_conv
from glipv2_mmdet.models.layers.dynamic_conv import DynamicConvBlock
from glipv2_mmdet.models.layers.hourglass import Hourglass
from glipv2_mmdet.models.layers.text_layers import BertFusionLayer, ClipFusionLayer, build_text_layer

__all__ = [
    'BertFusionLayer',
    'BiAttention',
    'ClipFusionLayer',
    'DynamicConvBlock',
    'Hourglass',
    'build_text_layer',
    'modulated_deform_conv',
]
