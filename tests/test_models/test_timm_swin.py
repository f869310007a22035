"""TimmSwin against mmdet's SwinTransformer with the same weights, at sizes that are no multiple of
anything."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.backbones import SwinTransformer

from glipv2_mmdet.models.backbones import TimmSwin

SIZES = dict(depths=(2, 2, 2, 2), num_heads=(2, 2, 4, 4), window_size=7, drop_path_rate=0.0)


@pytest.fixture(scope='module')
def backbone() -> TimmSwin:
    torch.manual_seed(0)
    backbone = TimmSwin(embed_dim=24, **SIZES).eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
    return backbone


@pytest.mark.parametrize('size', [(60, 92), (64, 64), (33, 130)])
def test_equals_mmdets_swin(backbone, size):
    torch.manual_seed(1)
    images = torch.randn(2, 3, *size)
    peer = SwinTransformer(embed_dims=24, out_indices=(1, 2, 3), **SIZES)
    peer.eval()  # returns nothing
    missing, unexpected = peer.load_state_dict(to_mmdet(backbone.state_dict()), strict=False)
    assert not unexpected and all('relative_position_index' in name for name in missing)
    with torch.no_grad():
        levels, expected = backbone(images), peer(images)
    assert len(levels) == len(expected) == 3
    for level, peer_level in zip(levels, expected, strict=True):
        assert level.shape == peer_level.shape
        torch.testing.assert_close(level, peer_level, rtol=0, atol=1e-4)


def to_mmdet(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's names to mmdet's. Both merge 2x2 patches into one row of channels, in different orders."""
    renamed = {}
    for name, value in state.items():
        if name.startswith('norms.'):
            level, kind = name.split('.')[1:]
            renamed[f'norm{int(level) + 1}.{kind}'] = value
            continue
        name = name.removeprefix('model.')
        if '.downsample.' in name:
            stage, rest = int(name.split('.')[1]), name.split('.', 2)[2]
            channels = value.shape[-1] // 4
            # timm counts (column, row, channel), torch's unfold counts (channel, row, column)
            value = value.unflatten(-1, (2, 2, channels)).transpose(-3, -1).flatten(-3)
            renamed[f'stages.{stage - 1}.{rest}'] = value
            continue
        for old, new in (
            ('layers.', 'stages.'),
            ('.attn.', '.attn.w_msa.'),
            ('.mlp.fc1.', '.ffn.layers.0.0.'),
            ('.mlp.fc2.', '.ffn.layers.1.'),
            ('patch_embed.proj.', 'patch_embed.projection.'),
        ):
            name = name.replace(old, new)
        renamed[name] = value
    return renamed


def test_sizes_are_rounded_up(backbone):
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, 60, 92))
    assert [tuple(level.shape) for level in levels] == [(1, 48, 8, 12), (1, 96, 4, 6), (1, 192, 2, 3)]


def test_last_stage_keeps_its_window_shift(backbone):
    """timm drops it at 224 px unless told otherwise; trained weights expect it at every size."""
    shifts = [block.shift_size for block in backbone.model.layers[3].blocks]
    assert shifts == [(0, 0), (3, 3)]


def test_out_indices_choose_the_levels(backbone):
    coarse = TimmSwin(embed_dim=24, out_indices=(3,), **SIZES).eval()
    state = {name: value for name, value in backbone.state_dict().items() if not name.startswith('norms.')}
    state |= {f'norms.0.{kind}': backbone.state_dict()[f'norms.2.{kind}'] for kind in ('weight', 'bias')}
    coarse.load_state_dict(state)
    image = torch.randn(1, 3, 40, 50)
    with torch.no_grad():
        (level,) = coarse(image)
        assert torch.equal(level, backbone(image)[2])


def test_gradient_checkpointing_changes_no_gradient(backbone):
    saving = TimmSwin(embed_dim=24, grad_checkpointing=True, **SIZES)
    saving.load_state_dict(backbone.state_dict())
    assert all(stage.grad_checkpointing for stage in saving.model.layers)
    image = torch.randn(1, 3, 36, 40)
    gradients = []
    for model in (backbone, saving.train()):
        loss = sum(level.square().sum() for level in model(image))
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=1e-4, atol=1e-4)
