"""Pre-training losses against the fixtures: region-word, inter-image, masked words."""

from __future__ import annotations

import torch
from torch import Tensor

from glipv2_mmdet.models.losses import InterImageContrast, RegionWordFocalLoss
from glipv2_mmdet.models.losses.inter_image_contrast import multi_positive_cross_entropy
from glipv2_mmdet.models.losses.label_propagation import NO_CATEGORY, RegionWordLabels, positive_pairs
from glipv2_mmdet.models.task_heads import MLMHead
from glipv2_mmdet.text import MaskedTokens
from tests.parity.compare import OPERATIONS, Comparison
from tests.parity.fixtures import Arrays


def compare_token_losses(arrays: Arrays, weights: dict[str, dict[str, Tensor]], result: Comparison) -> None:
    logits = arrays.tensor('logits').requires_grad_()
    loss = RegionWordFocalLoss(alpha=0.25, gamma=2.0)(
        logits, arrays.tensor('targets'), arrays.tensor('text_mask').bool(), torch.tensor(1.0)
    )
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
    positive = positive_pairs(labels.annotated, labels.same_image, labels.region_categories, labels.word_categories)
    result.equal(
        'full_positive_map', positive, arrays.tensor('full_positive_map').bool()[region_mask.flatten()][:, word_mask]
    )

    regions = arrays.tensor('region_emb')[region_mask].requires_grad_()
    words = arrays.tensor('text_emb')[word_mask].requires_grad_()
    logits = regions @ words.T / loss.log_scale.exp()
    result.relative(
        'loss_box_to_token', multi_positive_cross_entropy(logits, positive), arrays['loss_box_to_token'], OPERATIONS
    )
    result.relative(
        'loss_token_to_box', multi_positive_cross_entropy(logits.T, positive.T), arrays['loss_token_to_box'], OPERATIONS
    )
    total = loss.contrast(regions, words, labels, int(arrays['num_pos']))
    total.backward()
    result.relative('loss_total', total, arrays['loss_total'], OPERATIONS)
    result.relative('grad_region_emb', regions.grad, arrays.tensor('grad_region_emb')[region_mask], OPERATIONS)
    result.relative('grad_text_emb', words.grad, arrays.tensor('grad_text_emb')[word_mask], OPERATIONS)
    result.relative('grad_log_scale', loss.log_scale.grad, arrays['grad_log_scale'], OPERATIONS)
    # what the reference's assigner and sampler did; its outcome is the regions above
    arrays.used.update(('atss_num_pos', 'num_selected', 'selected_anchor'))


def _region_word_labels(arrays: Arrays, region_mask: Tensor, word_mask: Tensor) -> RegionWordLabels:
    """The fixture's class numbers as categories: markers for captions, padding and no class are negative there."""
    num_images = len(region_mask)
    images = torch.arange(num_images).unsqueeze(1)
    region_images, word_images = images.expand_as(region_mask)[region_mask], images.expand_as(word_mask)[word_mask]
    same_image = region_images.unsqueeze(1) == word_images
    own_map = arrays.tensor('own_positive_map').bool()[region_mask]  # (R, T)
    places = torch.arange(word_mask.shape[1]).expand_as(word_mask)[word_mask]
    return RegionWordLabels(
        annotated=own_map[:, places] & same_image,
        same_image=same_image,
        region_categories=arrays.tensor('region_od_label')[region_mask].clamp(min=NO_CATEGORY),
        word_categories=arrays.tensor('token_od_label')[word_mask].clamp(min=NO_CATEGORY),
    )


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
