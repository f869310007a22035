"""From a case's settings (those of the other implementation's model) to our model with the same weights."""

from __future__ import annotations

from pathlib import Path

from mmdet.registry import MODELS

from glipv2_mmdet.checkpoints import Layout, detect_layout, load_weights, to_ours
from glipv2_mmdet.models.detectors import GLIPv2
from tests.parity.fixtures import FixtureError, find_beside, read_json, seeded_weights

#: Swin settings that TimmSwin has no argument for, with the value it stands for.
SWIN_FIXED = dict(mlp_ratio=4, qkv_bias=True, qk_scale=None, drop_rate=0.0, attn_drop_rate=0.0, patch_norm=True)


def build_model(folder: Path, root: Path) -> tuple[GLIPv2, Layout]:
    """Our model in evaluation mode with the case's seeded weights, and the layout that leads back to them."""
    settings = read_json(folder / 'settings.json')
    spec = read_json(folder / 'state_dict_spec.json')
    weights = seeded_weights(root, spec['tensors'], spec['salt'])
    layout = detect_layout(weights)
    shapes = {item['key']: item['shape'] for item in spec['tensors']}
    model = MODELS.build(model_config(settings['model'], shapes, root))
    load_weights(model, to_ours(weights, layout).state_dict)
    return model.eval(), layout


def model_config(peer: dict, shapes: dict[str, list[int]], root: Path) -> dict:
    """Config of our model.

    Args:
        peer: ``model`` of the settings.
        shapes: of the peer's tensors; widths that its config does not state are read from them.
        root: fixtures folder with the language model.
    """
    bert = find_beside(root, peer['language_model']['name'])
    bert_config = read_json(bert / 'config.json')
    return dict(
        type='GLIPv2',
        data_preprocessor=peer['data_preprocessor'],
        backbone=_backbone(peer['backbone']),
        language_model=_language_model(peer['language_model'], bert),
        neck=peer['neck'],
        fusion=_fusion(peer['bbox_head'], shapes, bert_config),
        bbox_head=_head(peer['bbox_head'], peer['train_cfg'], bert_config),
        test_cfg=peer['test_cfg'],
    )


def _backbone(swin: dict) -> dict:
    for name, value in SWIN_FIXED.items():
        if swin.get(name, value) != value:
            raise FixtureError(f'Backbone setting {name}={swin[name]} has no counterpart; TimmSwin has {value}.')
    return dict(
        type='TimmSwin',
        embed_dim=swin['embed_dims'],
        depths=swin['depths'],
        num_heads=swin['num_heads'],
        window_size=swin['window_size'],
        drop_path_rate=swin.get('drop_path_rate', 0.0),
        out_indices=swin['out_indices'],
    )


def _language_model(peer: dict, bert: Path) -> dict:
    return dict(
        type='BertTextEncoder',
        config=str(bert),
        vocab=str(bert),
        max_tokens=peer.get('max_tokens', 256),
        num_embedded_layers=peer.get('num_layers_of_embedded', 1),
    )


def _fusion(head: dict, shapes: dict[str, list[int]], bert_config: dict) -> dict:
    fusion = dict(
        type='VLFusionDyHead',
        num_blocks=head['num_dyhead_blocks'],
        channels=head['feat_channels'],
        text_channels=bert_config['hidden_size'],
        early_fusion=head['early_fuse'],
        text_heads=bert_config['num_attention_heads'],
        text_ffn_channels=bert_config['intermediate_size'],
    )
    queries = [shape for key, shape in shapes.items() if key.endswith('b_attn.attn.v_proj.bias')]
    return {**fusion, 'attention_channels': queries[0][0]} if queries else fusion


def _head(head: dict, train_cfg: dict, bert_config: dict) -> dict:
    focal = head['loss_cls']
    return dict(
        type='GroundingATSSHead',
        channels=head['feat_channels'],
        text_channels=bert_config['hidden_size'],
        anchor_generator=head['anchor_generator'],
        bbox_coder=head['bbox_coder'],
        assigner=train_cfg['assigner'],
        loss_word=dict(
            type='RegionWordFocalLoss', alpha=focal['alpha'], gamma=focal['gamma'], loss_weight=focal['loss_weight']
        ),
        loss_box=dict(
            type='LocalizationLoss',
            giou_weight=head['loss_bbox']['loss_weight'],
            centerness_weight=head['loss_centerness']['loss_weight'],
        ),
    )
