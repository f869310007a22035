"""The mask head against the fixtures: hourglass, word-matched logits and their loss."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from glipv2_mmdet.models.layers import Hourglass
from glipv2_mmdet.models.losses import MaskLoss
from glipv2_mmdet.models.mask_heads import HourglassMaskHead
from tests.parity.compare import OPERATIONS, Comparison
from tests.parity.fixtures import Arrays
from tests.parity.stand_ins import against_ramp, stats


def compare_hourglass(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    """With and without normalisation; the fixtures hold every 3rd output and every 23rd input gradient."""
    num_scales, channels = map(int, re.search(r'n=(\d+), f=(\d+)', arrays.info['what']).groups())
    for kind, group_norm in (('plain', False), ('gn', True)):
        hourglass = Hourglass(num_scales, channels, group_norm)
        named = weights[f'gn={group_norm}']
        hourglass.load_state_dict({_our_hourglass_name(name): value for name, value in named.items()})
        x = arrays.tensor('input').float().requires_grad_()
        out = hourglass(x)
        against_ramp(out).backward()
        result.relative(f'output_{kind}', out.flatten()[::3], arrays[f'output_{kind}'], OPERATIONS)
        result.relative(f'output_stats_{kind}', stats(out), arrays[f'output_stats_{kind}'], OPERATIONS)
        result.relative(f'grad_input_{kind}', x.grad.flatten()[::23], arrays[f'grad_input_{kind}'], OPERATIONS)
        order = arrays.info['specs'][f'grad_order {kind}']
        norms = [float(hourglass.get_parameter(_our_hourglass_name(name)).grad.norm()) for name in order]
        result.relative(f'grad_norms_{kind}', norms, arrays[f'grad_norms_{kind}'], OPERATIONS)


def _our_hourglass_name(name: str) -> str:
    """``low2.conv1.0.weight`` (convolution, then norm) or ``low2.conv1.weight`` to ``inner.layers.1.weight``."""
    for theirs, ours in (('up1', 'skip'), ('low1', 'enter'), ('low2', 'inner'), ('low3', 'leave')):
        name = name.replace(theirs, ours)
    path, number, norm, parameter = re.fullmatch(r'(.*)conv(\d)(?:\.(\d))?\.(\w+)', name).groups()
    return f'{path}layers.{3 * int(number) - 2 + int(norm or 0)}.{parameter}'


def compare_mask_predictor(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    """Logits word by word, as the reference makes them, and the averaged ones that the loss sees."""
    settings = arrays.info['settings']
    head = HourglassMaskHead(settings['channels'], settings['lang_dim'], roi_size=settings['roi'])
    for name, value in weights['module'].items():
        for theirs, ours in (('conv5_mask', 'upsample'), ('dot_product_projection_text', 'text_projection')):
            name = name.replace(theirs, ours)
        head.get_parameter(name).data.copy_(value)

    features = arrays.tensor('input').float().requires_grad_()
    words = arrays.tensor('hidden').requires_grad_()
    positive_map = arrays.tensor('positive_map').bool()
    images = torch.zeros(len(features), dtype=torch.long)
    with torch.no_grad():
        one_word = torch.eye(words.shape[1], dtype=torch.bool)
        every_word = torch.stack(
            [head.match(features, words, images, row.expand(len(features), -1)) for row in one_word], dim=1
        )
    result.relative('logits', every_word.flatten()[::3], arrays['logits'], OPERATIONS)
    result.relative('logits_stats', stats(every_word), arrays['logits_stats'], OPERATIONS)

    positive = positive_map.any(dim=1)
    logits = head.match(features[positive], words, images[positive], positive_map[positive])
    loss = MaskLoss()(logits, arrays.tensor('mask_targets'))
    loss.backward()
    result.relative('logits_positive', logits, arrays['logits_positive'], OPERATIONS)
    result.relative('loss_mask', loss, arrays['loss_mask'], OPERATIONS)
    result.relative('grad_input', features.grad.flatten()[::5], arrays['grad_input'], OPERATIONS)
    result.relative('grad_hidden', words.grad, arrays['grad_hidden'], OPERATIONS)
