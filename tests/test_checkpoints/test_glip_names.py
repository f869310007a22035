import pytest
import torch
from mmdet.models.layers.transformer.utils import PatchMerging as MmdetPatchMerging
from timm.models.swin_transformer import PatchMerging as TimmPatchMerging

from glipv2_mmdet.checkpoints import CheckpointError, Layout, detect_layout, to_ours, to_source
from glipv2_mmdet.checkpoints.glip_names import merge_from_unfold, merge_to_unfold
from tests.test_checkpoints.tiny_glip import mmdet_weights

#: A contract: users' files hold these names. (mmdet, original, ours)
LITERAL_NAMES = (
    (
        'backbone.patch_embed.projection.weight',
        'module.backbone.body.patch_embed.proj.weight',
        'backbone.model.patch_embed.proj.weight',
    ),
    (
        'backbone.stages.2.blocks.1.ffn.layers.0.0.bias',
        'module.backbone.body.layers.2.blocks.1.mlp.fc1.bias',
        'backbone.model.layers.2.blocks.1.mlp.fc1.bias',
    ),
    (
        'backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table',
        'module.backbone.body.layers.0.blocks.0.attn.relative_position_bias_table',
        'backbone.model.layers.0.blocks.0.attn.relative_position_bias_table',
    ),
    (
        'backbone.stages.0.downsample.reduction.weight',
        'module.backbone.body.layers.0.downsample.reduction.weight',
        'backbone.model.layers.1.downsample.reduction.weight',
    ),
    ('backbone.norm1.weight', 'module.backbone.body.norm1.weight', 'backbone.norms.0.weight'),
    ('backbone.norm3.bias', 'module.backbone.body.norm3.bias', 'backbone.norms.2.bias'),
    ('neck.lateral_convs.0.conv.weight', 'module.backbone.fpn.fpn_inner2.weight', 'neck.lateral_convs.0.conv.weight'),
    ('neck.fpn_convs.2.conv.bias', 'module.backbone.fpn.fpn_layer4.bias', 'neck.fpn_convs.2.conv.bias'),
    ('neck.fpn_convs.4.conv.weight', 'module.backbone.fpn.top_blocks.p7.weight', 'neck.fpn_convs.4.conv.weight'),
    (
        'language_model.language_backbone.body.model.encoder.layer.0.output.LayerNorm.weight',
        'module.language_backbone.body.model.encoder.layer.0.output.LayerNorm.weight',
        'language_model.model.encoder.layer.0.output.LayerNorm.weight',
    ),
    (
        'bbox_head.head.dyhead_tower.3.b_attn.attn.values_l_proj.weight',
        'module.rpn.head.dyhead_tower.3.b_attn.attn.values_l_proj.weight',
        'fusion.blocks.1.attention.text_value.weight',
    ),
    (
        'bbox_head.head.dyhead_tower.0.b_attn.gamma_v',
        'module.rpn.head.dyhead_tower.0.b_attn.gamma_v',
        'fusion.blocks.0.attention.gamma_image',
    ),
    (
        'bbox_head.head.dyhead_tower.4.output.dense.weight',
        'module.rpn.head.dyhead_tower.4.output.dense.weight',
        'fusion.blocks.1.text_layer.ffn_out.weight',
    ),
    (
        'bbox_head.head.dyhead_tower.5.dyconvs.0.bn.weight',
        'module.rpn.head.dyhead_tower.5.DyConv.0.bn.weight',
        'fusion.blocks.1.dynamic_conv.coarser.norm.weight',
    ),
    (
        'bbox_head.head.dyhead_tower.2.attnconv.1.bias',
        'module.rpn.head.dyhead_tower.2.AttnConv.1.bias',
        'fusion.blocks.0.dynamic_conv.scale_attention.bias',
    ),
    (
        'bbox_head.head.dyhead_tower.2.relu.fc.2.weight',
        'module.rpn.head.dyhead_tower.2.relu.fc.2.weight',
        'fusion.blocks.0.dynamic_conv.activation.expand.weight',
    ),
    ('bbox_head.head.bbox_pred.weight', 'module.rpn.head.bbox_pred.weight', 'bbox_head.box.weight'),
    (
        'bbox_head.head.dot_product_projection_text.bias',
        'module.rpn.head.dot_product_projection_text.bias',
        'bbox_head.text_projection.bias',
    ),
    ('bbox_head.head.scales.4.scale', 'module.rpn.head.scales.4.scale', 'bbox_head.scales.4.scale'),
)
ORIGINAL = Layout('original', early_fusion=True, out_indices=(1, 2, 3), prefix='module.')


@pytest.mark.parametrize(('mmdet', 'original', 'ours'), LITERAL_NAMES)
def test_names_are_a_contract(mmdet, original, ours):
    shape = (16, 16) if 'downsample' in ours else (1,)
    for name, layout in ((mmdet, Layout('mmdet', True, (1, 2, 3))), (original, ORIGINAL)):
        converted = to_ours({name: torch.zeros(shape)}, layout).state_dict
        assert list(converted) == [ours]
        assert list(to_source(converted, layout)) == [name]


@pytest.mark.parametrize(
    'size',
    [
        dict(),
        dict(early_fusion=False),
        dict(blocks=1),
        dict(early_fusion=False, blocks=5),
        dict(depths=(2, 1, 5, 2)),
        dict(embed_dim=192, depths=(1, 1, 1, 1), heads=(6, 12, 24, 48), window=12),
    ],
    ids=['early', 'late', 'one block', 'five blocks late', 'deeper', 'Swin-L widths'],
)
def test_mmdet_weights_survive_the_round_trip_bit_by_bit(size):
    weights = mmdet_weights(**size)
    conversion = to_ours(weights)
    assert conversion.layout == Layout('mmdet', size.get('early_fusion', True), (1, 2, 3))
    assert all(name.endswith('relative_position_index') for name in conversion.excused)
    back = to_source(conversion.state_dict, conversion.layout)
    _assert_same(back, {name: value for name, value in weights.items() if name not in conversion.excused})


@pytest.mark.parametrize('early_fusion', [True, False])
@pytest.mark.parametrize('prefix', ['module.', ''])
def test_original_weights_survive_the_round_trip_and_agree_with_mmdet(early_fusion, prefix):
    ours = to_ours(mmdet_weights(early_fusion)).state_dict
    layout = Layout('original', early_fusion, (1, 2, 3), prefix)
    original = to_source(ours, layout)
    assert detect_layout(original) == layout
    assert original[f'{prefix}rpn.head.scales.0.scale'].shape == (1,)
    conversion = to_ours(original)
    _assert_same(conversion.state_dict, ours)
    _assert_same(to_source(conversion.state_dict, layout), original)


def test_what_the_method_does_not_use_is_left_behind_by_name():
    weights = to_source(to_ours(mmdet_weights()).state_dict, ORIGINAL)
    unused = {
        'module.backbone.body.layers.0.blocks.0.attn.relative_position_index',
        'module.backbone.body.layers.0.blocks.1.attn_mask',
        'module.language_backbone.body.model.embeddings.position_ids',
        'module.language_backbone.body.model.pooler.dense.weight',
        'module.rpn.anchor_generator.cell_anchors.0',
        'module.rpn.head.cls_logits.bias',
        'module.rpn.head.resizer.fc.weight',
    }
    conversion = to_ours(weights | {name: torch.zeros(2) for name in unused})
    assert set(conversion.excused) == unused
    assert len(conversion.state_dict) == len(weights)


def test_leftovers_are_an_error_that_names_them():
    weights = mmdet_weights()
    weights['backbone.surprise'] = weights['bbox_head.head.mlm.weight'] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        to_ours(weights)
    assert '2 tensor(s)' in str(error.value)
    assert '"backbone.surprise", "bbox_head.head.mlm.weight"' in str(error.value)


def test_a_tower_entry_of_the_wrong_kind_is_a_leftover():
    # entry 1 of an early-fusion tower is a text layer, not a convolution
    name = 'bbox_head.head.dyhead_tower.1.offset.bias'
    with pytest.raises(CheckpointError, match=name):
        to_ours(mmdet_weights() | {name: torch.zeros(27)})


def test_other_checkpoints_are_refused():
    with pytest.raises(CheckpointError, match=r'Not a GLIP checkpoint.*"backbone.conv1.weight"'):
        to_ours({'backbone.conv1.weight': torch.zeros(1)})


def test_a_name_we_alone_have_cannot_go_back():
    with pytest.raises(CheckpointError, match=r'"mask_head\.weight"'):
        to_source({'mask_head.weight': torch.zeros(1)}, ORIGINAL)


def test_impossible_patch_merging_is_named():
    weights = mmdet_weights() | {'backbone.stages.0.downsample.norm.weight': torch.zeros(7)}
    with pytest.raises(CheckpointError, match=r'"backbone.stages.0.downsample.norm.weight" has shape \(7,\)'):
        to_ours(weights)


def test_patch_merging_order_on_paper():
    # one channel pair (a, b) and the 2 x 2 patch positions 00 01 10 11
    unfolded = ['a00', 'a01', 'a10', 'a11', 'b00', 'b01', 'b10', 'b11']
    expected = ['a00', 'b00', 'a10', 'b10', 'a01', 'b01', 'a11', 'b11']
    order = merge_from_unfold(torch.arange(8))
    assert [unfolded[i] for i in order] == expected
    assert merge_to_unfold(order).tolist() == list(range(8))


@pytest.mark.parametrize('size', [(6, 8), (7, 5)])
def test_patch_merging_of_mmdet_computes_the_same_in_timm(size):
    torch.manual_seed(0)
    theirs, ours = MmdetPatchMerging(6, 12), TimmPatchMerging(6)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict({name: merge_from_unfold(value) for name, value in theirs.state_dict().items()})
    x = torch.randn(2, *size, 6)
    want, out_size = theirs(x.flatten(1, 2), size)
    torch.testing.assert_close(ours(x).flatten(1, 2), want)
    assert ours(x).shape[1:3] == out_size


def test_patch_merging_of_the_original_computes_the_same_in_timm_unchanged():
    torch.manual_seed(0)
    merging = TimmPatchMerging(6)
    for parameter in merging.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 6, 8, 6)
    # the original concatenates the four patch positions in this order
    order = ((0, 0), (1, 0), (0, 1), (1, 1))
    gathered = torch.cat([x[:, row::2, column::2] for row, column in order], dim=-1)
    torch.testing.assert_close(merging(x), merging.reduction(merging.norm(gathered)))


def _assert_same(got, want):
    assert set(got) == set(want)
    for name, value in want.items():
        assert got[name].shape == value.shape, name
        assert torch.equal(got[name], value), name
