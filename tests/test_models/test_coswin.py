"""CoSwin: levels like TimmSwin's, convolutions where Swin gathers patches."""

import pytest
import torch
from torch import nn

from glipv2_mmdet.models.backbones import CoSwin, TimmSwin

SIZES = dict(embed_dim=24, depths=(1, 2, 1, 1), num_heads=(2, 2, 4, 4), window_size=4, drop_path_rate=0.0)


@pytest.fixture(scope='module')
def backbone() -> CoSwin:
    torch.manual_seed(0)
    return CoSwin(**SIZES).eval()


@pytest.mark.parametrize('size', [(64, 96), (33, 130), (60, 92)])
@torch.no_grad()
def test_levels_have_the_shapes_of_swin(backbone, size):
    images = torch.randn(2, 3, *size)
    swin = TimmSwin(**SIZES).eval()
    assert [level.shape for level in backbone(images)] == [level.shape for level in swin(images)]


@torch.no_grad()
def test_neighbouring_tokens_share_pixels(backbone):
    """An overlapping convolution: pixel 4 belongs to the first token too; in Swin it starts the second."""
    image = torch.zeros(1, 3, 32, 32)
    changed = image.clone()
    changed[..., 0, 4] = 1.0
    embed = backbone.swin.model.patch_embed
    assert not torch.equal(embed(image)[0, 0, 0], embed(changed)[0, 0, 0])
    swin_embed = TimmSwin(**SIZES).eval().model.patch_embed
    assert torch.equal(swin_embed(image)[0, 0, 0], swin_embed(changed)[0, 0, 0])


def test_parts_that_differ_from_swin_are_the_embedding_and_the_mergings(backbone):
    ours = {name: value.shape for name, value in backbone.swin.state_dict().items()}
    swin = {name: value.shape for name, value in TimmSwin(**SIZES).state_dict().items()}
    different = {name for name in ours.keys() | swin.keys() if ours.get(name) != swin.get(name)}
    assert {name.rsplit('.', 2)[0] for name in different} == {
        'model.patch_embed',
        *(f'model.layers.{i}.downsample' for i in (1, 2, 3)),
    }
    mergings = [stage.downsample.proj for stage in backbone.swin.model.layers[1:]]
    assert [tuple(conv.weight.shape) for conv in mergings] == [(48, 24, 3, 3), (96, 48, 3, 3), (192, 96, 3, 3)]


@torch.no_grad()
def test_padding_below_and_on_the_right_is_swins(backbone):
    image = torch.randn(1, 3, 30, 31)
    padded = nn.functional.pad(image, (0, 1, 0, 2))
    embed = backbone.swin.model.patch_embed
    assert torch.equal(embed(image), embed(padded))


def test_every_parameter_learns_and_checkpointing_changes_nothing(backbone):
    saving = CoSwin(**SIZES, grad_checkpointing=True).train()
    saving.load_state_dict(backbone.state_dict())
    image = torch.randn(1, 3, 36, 40)
    gradients = []
    for model in (backbone, saving):
        loss = sum(level.square().mul(torch.arange(level.shape[1])[:, None, None]).sum() for level in model(image))
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=1e-4, atol=1e-2)


def test_the_h_scale_has_the_assumed_size():
    with torch.device('meta'):
        backbone = CoSwin()
    assert [norm.normalized_shape[0] for norm in backbone.swin.norms] == [704, 1408, 2816]
    assert {
        block.attn.qkv.in_features // block.attn.num_heads
        for stage in backbone.swin.model.layers
        for block in stage.blocks
    } == {32}
    # the docstring says so
    assert round(sum(parameter.numel() for parameter in backbone.parameters()) / 1e6) == 681
