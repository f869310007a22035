"""A tiny GLIP: weights under mmdet's names, without the name tables' help, and the config that fits them."""

import torch

EMBED_DIM, DEPTHS, HEADS, WINDOW = 12, (1, 1, 2, 1), (1, 1, 2, 2), 4
CHANNELS, WORDS, ATTENTION, FFN, LEVELS, BLOCKS = 32, 24, 64, 48, 5, 2


def tiny_config(early_fusion=True):
    """Our model of the same shape."""
    widths = [EMBED_DIM * 2**stage for stage in (1, 2, 3)]
    return dict(
        type='GLIPv2',
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
        backbone=dict(type='TimmSwin', embed_dim=EMBED_DIM, depths=DEPTHS, num_heads=HEADS, window_size=WINDOW),
        language_model=dict(
            type='BertTextEncoder',
            config=dict(hidden_size=WORDS, num_hidden_layers=1, num_attention_heads=2, intermediate_size=FFN),
        ),
        neck=dict(
            type='FPN',
            in_channels=widths,
            out_channels=CHANNELS,
            start_level=0,
            relu_before_extra_convs=True,
            add_extra_convs='on_output',
            num_outs=LEVELS,
        ),
        fusion=dict(
            type='VLFusionDyHead',
            num_blocks=BLOCKS,
            channels=CHANNELS,
            text_channels=WORDS,
            early_fusion=early_fusion,
            attention_channels=ATTENTION,
            text_heads=2,
            text_ffn_channels=FFN,
        ),
        bbox_head=dict(type='GroundingATSSHead', channels=CHANNELS, text_channels=WORDS),
        test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
    )


def mmdet_weights(early_fusion=True, embed_dim=EMBED_DIM, depths=DEPTHS, heads=HEADS, window=WINDOW, blocks=BLOCKS):
    """Random weights under the names of mmdet's GLIP, its integer buffers included."""
    weights = {**_swin(embed_dim, depths, heads, window), **_neck(embed_dim), **_bert()}
    weights |= _head()
    for block in range(blocks):
        tower = 'bbox_head.head.dyhead_tower'
        if early_fusion:
            weights |= _bi_attention(f'{tower}.{3 * block}.b_attn')
            weights |= _bert_layer(f'{tower}.{3 * block + 1}')
        weights |= _dynamic_conv(f'{tower}.{3 * block + 2 if early_fusion else block}')
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.zeros(*shape, dtype=torch.long)
        if name.endswith('_index')
        else torch.randn(shape, generator=generator)
        for name, shape in weights.items()
    }


def _linear(name, out, into):
    return {f'{name}.weight': (out, into), f'{name}.bias': (out,)}


def _norm(name, width):
    return {f'{name}.weight': (width,), f'{name}.bias': (width,)}


def _conv(name, out, into, size):
    return {f'{name}.weight': (out, into, size, size), f'{name}.bias': (out,)}


def _swin(embed_dim, depths, heads, window):
    shapes = _conv('backbone.patch_embed.projection', embed_dim, 3, 4)
    shapes |= _norm('backbone.patch_embed.norm', embed_dim)
    for stage, depth in enumerate(depths):
        width = embed_dim * 2**stage
        for block in range(depth):
            name = f'backbone.stages.{stage}.blocks.{block}'
            shapes |= _norm(f'{name}.norm1', width) | _norm(f'{name}.norm2', width)
            shapes[f'{name}.attn.w_msa.relative_position_bias_table'] = ((2 * window - 1) ** 2, heads[stage])
            shapes[f'{name}.attn.w_msa.relative_position_index'] = (window**2, window**2)
            shapes |= _linear(f'{name}.attn.w_msa.qkv', 3 * width, width)
            shapes |= _linear(f'{name}.attn.w_msa.proj', width, width)
            shapes |= _linear(f'{name}.ffn.layers.0.0', 4 * width, width)
            shapes |= _linear(f'{name}.ffn.layers.1', width, 4 * width)
        if stage + 1 < len(depths):
            name = f'backbone.stages.{stage}.downsample'
            shapes |= _norm(f'{name}.norm', 4 * width)
            shapes[f'{name}.reduction.weight'] = (2 * width, 4 * width)
        if stage > 0:
            shapes |= _norm(f'backbone.norm{stage}', width)
    return shapes


def _neck(embed_dim):
    shapes = {}
    for level in range(LEVELS):
        if level < 3:
            shapes |= _conv(f'neck.lateral_convs.{level}.conv', CHANNELS, embed_dim * 2 ** (level + 1), 1)
        shapes |= _conv(f'neck.fpn_convs.{level}.conv', CHANNELS, CHANNELS, 3)
    return shapes


def _bert():
    name = 'language_model.language_backbone.body.model'
    shapes = {
        f'{name}.embeddings.word_embeddings.weight': (30522, WORDS),
        f'{name}.embeddings.position_embeddings.weight': (512, WORDS),
        f'{name}.embeddings.token_type_embeddings.weight': (2, WORDS),
    }
    return shapes | _norm(f'{name}.embeddings.LayerNorm', WORDS) | _bert_layer(f'{name}.encoder.layer.0')


def _bert_layer(name):
    shapes = {}
    for part in ('self.query', 'self.key', 'self.value', 'output.dense'):
        shapes |= _linear(f'{name}.attention.{part}', WORDS, WORDS)
    shapes |= _norm(f'{name}.attention.output.LayerNorm', WORDS) | _norm(f'{name}.output.LayerNorm', WORDS)
    shapes |= _linear(f'{name}.intermediate.dense', FFN, WORDS)
    return shapes | _linear(f'{name}.output.dense', WORDS, FFN)


def _bi_attention(name):
    shapes = {f'{name}.gamma_v': (CHANNELS,), f'{name}.gamma_l': (WORDS,)}
    shapes |= _norm(f'{name}.layer_norm_v', CHANNELS) | _norm(f'{name}.layer_norm_l', WORDS)
    for kind, width in (('v', CHANNELS), ('l', WORDS)):
        shapes |= _linear(f'{name}.attn.{kind}_proj', ATTENTION, width)
        shapes |= _linear(f'{name}.attn.values_{kind}_proj', ATTENTION, width)
        shapes |= _linear(f'{name}.attn.out_{kind}_proj', width, ATTENTION)
    return shapes


def _dynamic_conv(name):
    shapes = _conv(f'{name}.offset', 27, CHANNELS, 3) | _conv(f'{name}.attnconv.1', 1, CHANNELS, 1)
    for neighbour in range(3):
        shapes |= _conv(f'{name}.dyconvs.{neighbour}.conv', CHANNELS, CHANNELS, 3)
        shapes |= _norm(f'{name}.dyconvs.{neighbour}.bn', CHANNELS)
    return (
        shapes
        | _linear(f'{name}.relu.fc.0', CHANNELS // 4, CHANNELS)
        | _linear(f'{name}.relu.fc.2', 4 * CHANNELS, CHANNELS // 4)
    )


def _head():
    name = 'bbox_head.head'
    shapes = {f'{name}.log_scale': (1,), f'{name}.bias0': (1,), f'{name}.bias_lang': (WORDS,)}
    shapes |= _conv(f'{name}.bbox_pred', 4, CHANNELS, 1) | _conv(f'{name}.centerness', 1, CHANNELS, 1)
    shapes |= _linear(f'{name}.dot_product_projection_text', CHANNELS, WORDS)
    return shapes | {f'{name}.scales.{level}.scale': () for level in range(LEVELS)}
