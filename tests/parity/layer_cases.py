"""Layers of the neck and the fusion against the fixtures: deformable convolution, bi-attention."""

from __future__ import annotations

import torch
from torch import Tensor

from glipv2_mmdet.checkpoints import Layout, to_ours
from glipv2_mmdet.models.layers import BiAttention, modulated_deform_conv
from glipv2_mmdet.models.layers.deform_conv import NUM_TAPS
from glipv2_mmdet.models.layers.dynamic_conv import read_as_size
from glipv2_mmdet.models.layers.levels import join_levels, split_levels
from tests.parity.compare import OPERATIONS, Comparison
from tests.parity.fixtures import Arrays
from tests.parity.stand_ins import against_ramp


def compare_deform_conv(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    """The three convolutions of a dynamic block share one steering map; for ``high`` its size is wrong."""
    for source, stride in (('mid', 1), ('low', 2), ('high', 1)):
        x = arrays.tensor(source).requires_grad_()
        steering = arrays.tensor('offset_mask').requires_grad_()
        weight = weights[f'stride{stride}'][f'stride{stride}.weight']
        bias = weights[f'stride{stride}'][f'stride{stride}.bias']
        want = arrays[f'out_{source}']

        def convolve(
            x: Tensor, steering: Tensor, size=want.shape[-2:], weight=weight, bias=bias, stride=stride
        ) -> Tensor:
            offset, mask = steering[:, : 2 * NUM_TAPS], steering[:, 2 * NUM_TAPS :].sigmoid()
            return modulated_deform_conv(x, read_as_size(offset, size), read_as_size(mask, size), weight, bias, stride)

        out = convolve(x, steering)
        against_ramp(out).backward()
        with torch.no_grad():
            result.relative(f'out_{source} (inference)', convolve(x, steering), want, OPERATIONS)
        result.relative(f'out_{source}', out, want, OPERATIONS)
        for name, leaf in ((f'grad_input_{source}', x), (f'grad_offset_mask_{source}', steering)):
            result.relative(name, leaf.grad, arrays[name], OPERATIONS)


def compare_bi_attention(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    settings = arrays.info['settings']
    attention = BiAttention(settings['v_dim'], settings['l_dim'], settings['embed_dim'], settings['num_heads']).eval()
    # the fixture has the block alone; give it the name it has inside a model, so that the name table applies
    named = {f'bbox_head.head.dyhead_tower.0.b_attn.{key}': value for key, value in weights['module'].items()}
    converted = to_ours(named, Layout('mmdet', early_fusion=True, out_indices=())).state_dict
    attention.load_state_dict(
        {key.removeprefix('fusion.blocks.0.attention.'): value for key, value in converted.items()}
    )

    names = sorted(arrays.starting_with('visual_'), key=lambda name: int(name.split('_')[1]))
    visual = [arrays.tensor(name).requires_grad_() for name in names]
    lang = arrays.tensor('lang').requires_grad_()
    image, words = attention(join_levels(visual), lang, arrays.tensor('mask').bool())
    outputs = {f'fused_{name}': level for name, level in zip(names, split_levels(image, visual), strict=True)}
    outputs['fused_lang'] = words
    sum(against_ramp(out) for out in outputs.values()).backward()
    for name, out in outputs.items():
        result.relative(name, out, arrays[name], OPERATIONS)
    leaves = dict(zip(names, visual, strict=True)) | {'lang': lang}
    for name in arrays.starting_with('grad_'):
        result.relative(name, leaves[name.removeprefix('grad_')].grad, arrays[name], OPERATIONS)
