"""Operations of compiled mmcv, written with torchvision and torch, under the names and arguments mmcv calls.

mmcv's own Python layer (``mmcv.ops``) owns the autograd functions; it calls a *forward* that fills a buffer and a
*backward* that adds to zeroed gradient buffers. Names, order and keywords of the arguments are mmcv's and must stay;
buffers a compiled kernel uses as scratch are ignored. Every operation works on the device of its inputs.
"""

from glipv2_mmdet.compat.mmcv_stand_in.boxes import bbox_overlaps, nms, nms_match, softnms
from glipv2_mmdet.compat.mmcv_stand_in.deform import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
    ms_deform_attn_backward,
    ms_deform_attn_forward,
)
from glipv2_mmdet.compat.mmcv_stand_in.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from glipv2_mmdet.compat.mmcv_stand_in.roi import (
    roi_align_backward,
    roi_align_forward,
    roi_pool_backward,
    roi_pool_forward,
)
from glipv2_mmdet.compat.mmcv_stand_in.versions import get_compiler_version, get_compiling_cuda_version

__all__ = [
    'bbox_overlaps',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'roi_pool_backward',
    'roi_pool_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
]
