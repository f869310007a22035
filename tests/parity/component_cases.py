"""Single operations and components against the fixtures' ``ops`` and ``reference`` folders."""
from __future__ import annotations

import re

import torch
from torch import Tensor

from glipv2_mmdet.checkpoints import Layout, to_ours
from glipv2_mmdet.models.layers import BiAttention, Hourglass, modulated_deform_conv
from glipv2_mmdet.models.layers.deform_conv import NUM_TAPS
from glipv2_mmdet.models.layers.dynamic_conv import read_as_size
from glipv2_mmdet.models.layers.levels import join_levels, split_levels
from glipv2_mmdet.models.losses import InterImageContrast, MaskLoss, RegionWordFocalLoss
from glipv2_mmdet.models.losses.inter_image_contrast import multi_positive_cross_entropy
from glipv2_mmdet.models.losses.label_propagation import NO_CATEGORY, RegionWordLabels, positive_pairs
from glipv2_mmdet.models.mask_heads import HourglassMaskHead
from glipv2_mmdet.models.task_heads import MLMHead
from glipv2_mmdet.text import MaskedTokens
from tests.parity.compare import OPERATIONS, Comparison
from tests.parity.fixtures import Arrays, Case, seeded_weights


def compare_component_case(case: Case) -> Comparison:
    """All arrays of ``case``, or one row that says that the project has no such component yet."""
    result = Comparison(case.name)
    arrays = Arrays.read(case.folder, case.part)
    run = next((run for stem, run in COMPONENTS.items() if case.part.startswith(stem)), None)
    if run is None:
        result.skip('*', 'no component yet')
        return result
    weights = {group: seeded_weights(case.root, tensors, arrays.info['salt'])
               for group, tensors in arrays.info.get('specs', {}).items() if not group.startswith('grad_order')}
    run(arrays, weights, result)
    for array in arrays.unused:
        result.fail(array, 'the fixture has this array, the check does not know it')
    return result


def compare_deform_conv(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    """The three convolutions of a dynamic block share one steering map; for ``high`` its size is wrong."""
    for source, stride in (('mid', 1), ('low', 2), ('high', 1)):
        x = arrays.tensor(source).requires_grad_()
        steering = arrays.tensor('offset_mask').requires_grad_()
        weight = weights[f'stride{stride}'][f'stride{stride}.weight']
        bias = weights[f'stride{stride}'][f'stride{stride}.bias']
        want = arrays[f'out_{source}']

        def convolve(x: Tensor, steering: Tensor, size=want.shape[-2:], weight=weight, bias=bias,
                     stride=stride) -> Tensor:
            offset, mask = steering[:, :2 * NUM_TAPS], steering[:, 2 * NUM_TAPS:].sigmoid()
            return modulated_deform_conv(
                x, read_as_size(offset, size), read_as_size(mask, size), weight, bias, stride)

        out = convolve(x, steering)
        _against_ramp(out).backward()
        with torch.no_grad():
            result.relative(f'out_{source} (inference)', convolve(x, steering), want, OPERATIONS)
        result.relative(f'out_{source}', out, want, OPERATIONS)
        for name, leaf in ((f'grad_input_{source}', x), (f'grad_offset_mask_{source}', steering)):
            result.relative(name, leaf.grad, arrays[name], OPERATIONS)


def compare_bi_attention(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    settings = arrays.info['settings']
    attention = BiAttention(
        settings['v_dim'], settings['l_dim'], settings['embed_dim'], settings['num_heads']).eval()
    # the fixture has the block alone; give it the name it has inside a model, so that the name table applies
    named = {f'bbox_head.head.dyhead_tower.0.b_attn.{key}': value for key, value in weights['module'].items()}
    converted = to_ours(named, Layout('mmdet', early_fusion=True, out_indices=())).state_dict
    attention.load_state_dict(
        {key.removeprefix('fusion.blocks.0.attention.'): value for key, value in converted.items()})

    names = sorted(arrays.starting_with('visual_'), key=lambda name: int(name.split('_')[1]))
    visual = [arrays.tensor(name).requires_grad_() for name in names]
    lang = arrays.tensor('lang').requires_grad_()
    image, words = attention(join_levels(visual), lang, arrays.tensor('mask').bool())
    outputs = {f'fused_{name}': level for name, level in zip(names, split_levels(image, visual), strict=True)}
    outputs['fused_lang'] = words
    sum(_against_ramp(out) for out in outputs.values()).backward()
    for name, out in outputs.items():
        result.relative(name, out, arrays[name], OPERATIONS)
    leaves = dict(zip(names, visual, strict=True)) | {'lang': lang}
    for name in arrays.starting_with('grad_'):
        result.relative(name, leaves[name.removeprefix('grad_')].grad, arrays[name], OPERATIONS)


def compare_token_losses(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    logits = arrays.tensor('logits').requires_grad_()
    loss = RegionWordFocalLoss(alpha=0.25, gamma=2.0)(
        logits, arrays.tensor('targets'), arrays.tensor('text_mask').bool(), torch.tensor(1.0))
    loss.backward()
    result.relative('loss_focal', loss, arrays['loss_focal'], OPERATIONS)
    result.relative('grad_focal', logits.grad, arrays['grad_focal'], OPERATIONS)
    for name in ('loss_contrastive_align', 'grad_contrastive_align'):
        if name in arrays:
            arrays.used.add(name)
            result.skip(name, 'no component yet')


def compare_inter_image_contrast(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    """Same regions, words and annotation in; embeddings, propagated targets, both directions and gradients out.

    The reference fills up to a fixed number of regions and words; where it masks them, they are left out here. Where it
    fills up with random negatives, these come along as regions that stand for no word.
    """
    text_channels, channels = arrays['proj_text_weight'].shape[1], arrays['proj_image_weight'].shape[1]
    loss = InterImageContrast(channels, text_channels)
    with torch.no_grad():
        loss.region_projection.weight.copy_(arrays.tensor('proj_image_weight'))
        loss.region_projection.bias.copy_(arrays.tensor('proj_image_bias'))
        loss.word_projection.weight.copy_(arrays.tensor('proj_text_weight'))
        loss.word_projection.bias.copy_(arrays.tensor('proj_text_bias'))
        loss.log_scale.copy_(arrays.tensor('log_scale'))

    region_mask, word_mask = arrays.tensor('region_mask').bool(), arrays.tensor('text_mask').bool()
    regions = loss.embed_regions(arrays.tensor('region_feat')[region_mask])
    words = loss.embed_words(arrays.tensor('text_feat')[word_mask])
    result.relative('region_emb', regions, arrays.tensor('region_emb')[region_mask], OPERATIONS)
    result.relative('text_emb', words, arrays.tensor('text_emb')[word_mask], OPERATIONS)

    labels = _region_word_labels(arrays, region_mask, word_mask)
    positive = positive_pairs(
        labels.annotated, labels.same_image, labels.region_categories, labels.word_categories)
    result.equal('full_positive_map', positive,
                 arrays.tensor('full_positive_map').bool()[region_mask.flatten()][:, word_mask])

    regions = arrays.tensor('region_emb')[region_mask].requires_grad_()
    words = arrays.tensor('text_emb')[word_mask].requires_grad_()
    logits = regions @ words.T / loss.log_scale.exp()
    result.relative('loss_box_to_token', multi_positive_cross_entropy(logits, positive), arrays['loss_box_to_token'],
                    OPERATIONS)
    result.relative('loss_token_to_box', multi_positive_cross_entropy(logits.T, positive.T),
                    arrays['loss_token_to_box'], OPERATIONS)
    total = loss.contrast(regions, words, labels, int(arrays['num_pos']))
    total.backward()
    result.relative('loss_total', total, arrays['loss_total'], OPERATIONS)
    result.relative('grad_region_emb', regions.grad, arrays.tensor('grad_region_emb')[region_mask], OPERATIONS)
    result.relative('grad_text_emb', words.grad, arrays.tensor('grad_text_emb')[word_mask], OPERATIONS)
    result.relative('grad_log_scale', loss.log_scale.grad, arrays['grad_log_scale'], OPERATIONS)
    # what the reference's assigner and sampler did; its outcome is the regions above
    arrays.used.update(('atss_num_pos', 'num_selected', 'selected_anchor'))


def compare_mlm_head(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    """The reference's own decoder stands in for the encoder's word embeddings."""
    settings, module = arrays.info['settings'], weights['module']
    head = MLMHead(settings['hidden_size'], settings['vocab_size'])
    with torch.no_grad():
        for ours, theirs in (('dense', 'transform.dense'), ('norm', 'transform.LayerNorm')):
            for kind in ('weight', 'bias'):
                getattr(getattr(head, ours), kind).copy_(module[f'{theirs}.{kind}'])
        head.bias.copy_(module['bias'])
    hidden = arrays.tensor('hidden').requires_grad_()
    result.relative('logits', head(hidden, module['decoder.weight']), arrays['logits'], OPERATIONS)
    labels = arrays.tensor('labels').flatten()
    positions = (labels != -100).nonzero().squeeze(1)
    # the tokens themselves do not matter here: the reference was given hidden states
    loss = head.loss(hidden, MaskedTokens(None, positions, labels[positions]), module['decoder.weight'])
    loss.backward()
    result.relative('loss_mlm', loss, arrays['loss_mlm'], OPERATIONS)
    result.relative('grad_hidden', hidden.grad, arrays['grad_hidden'], OPERATIONS)


def _region_word_labels(arrays: Arrays, region_mask: Tensor, word_mask: Tensor) -> RegionWordLabels:
    """The fixture's class numbers as categories: markers for captions, padding and no class are negative there."""
    num_images = len(region_mask)
    images = torch.arange(num_images).unsqueeze(1)
    region_images, word_images = images.expand_as(region_mask)[region_mask], images.expand_as(word_mask)[word_mask]
    same_image = region_images.unsqueeze(1) == word_images
    own_map = arrays.tensor('own_positive_map').bool()[region_mask]  # (R, T)
    places = torch.arange(word_mask.shape[1]).expand_as(word_mask)[word_mask]
    return RegionWordLabels(
        annotated=own_map[:, places] & same_image, same_image=same_image,
        region_categories=arrays.tensor('region_od_label')[region_mask].clamp(min=NO_CATEGORY),
        word_categories=arrays.tensor('token_od_label')[word_mask].clamp(min=NO_CATEGORY))


def compare_hourglass(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    """With and without normalisation; the fixtures hold every 3rd output and every 23rd input gradient."""
    num_scales, channels = map(int, re.search(r'n=(\d+), f=(\d+)', arrays.info['what']).groups())
    for kind, group_norm in (('plain', False), ('gn', True)):
        hourglass = Hourglass(num_scales, channels, group_norm)
        named = weights[f'gn={group_norm}']
        hourglass.load_state_dict({_our_hourglass_name(name): value for name, value in named.items()})
        x = arrays.tensor('input').float().requires_grad_()
        out = hourglass(x)
        _against_ramp(out).backward()
        result.relative(f'output_{kind}', out.flatten()[::3], arrays[f'output_{kind}'], OPERATIONS)
        result.relative(f'output_stats_{kind}', _stats(out), arrays[f'output_stats_{kind}'], OPERATIONS)
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
            [head.match(features, words, images, row.expand(len(features), -1)) for row in one_word], dim=1)
    result.relative('logits', every_word.flatten()[::3], arrays['logits'], OPERATIONS)
    result.relative('logits_stats', _stats(every_word), arrays['logits_stats'], OPERATIONS)

    positive = positive_map.any(dim=1)
    logits = head.match(features[positive], words, images[positive], positive_map[positive])
    loss = MaskLoss()(logits, arrays.tensor('mask_targets'))
    loss.backward()
    result.relative('logits_positive', logits, arrays['logits_positive'], OPERATIONS)
    result.relative('loss_mask', loss, arrays['loss_mask'], OPERATIONS)
    result.relative('grad_input', features.grad.flatten()[::5], arrays['grad_input'], OPERATIONS)
    result.relative('grad_hidden', words.grad, arrays['grad_hidden'], OPERATIONS)


def _stats(values: Tensor) -> list[float]:
    """Mean, spread and absolute sum, added up in double precision."""
    values = values.detach().double()
    return [float(values.mean()), float(values.std(correction=0)), float(values.abs().sum())]


def _against_ramp(out: Tensor) -> Tensor:
    """The scalar whose gradients the fixtures hold: the output against evenly spaced weights."""
    return (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum()


#: By the beginning of the file name.
COMPONENTS = {
    'modulated_deform_conv': compare_deform_conv,
    'bi_attention': compare_bi_attention,
    'token_losses': compare_token_losses,
    'shallow_contrastive': compare_inter_image_contrast,
    'mlm_head': compare_mlm_head,
    'hourglass': compare_hourglass,
    'vl_mask_predictor': compare_mask_predictor,
}
