"""Reading left to right: no word sees the words behind it, and word by word gives what whole texts give."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertModel, CLIPTextModel

from glipv2_mmdet.models.language_models import BertTextEncoder, CLIPTextEncoder
from glipv2_mmdet.models.layers import BertFusionLayer, ClipFusionLayer
from glipv2_mmdet.structures import KeyValues, TextFeatures
from glipv2_mmdet.text import Prompt, TokenBatch
from tests.test_models.nano import pyramid, text_features
from tests.test_models.test_vl_fusion_dyhead import build as build_neck
from tests.tiny_clip import write_folder

CONFIG = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32, vocab_size=600)
IDS = torch.tensor([[5, 17, 40, 300, 22, 7], [9, 8, 70, 2, 0, 0]])
LENGTHS = (6, 4)
TOKENS = TokenBatch(IDS, torch.arange(6) < torch.tensor(LENGTHS)[:, None], LENGTHS)


@pytest.fixture(scope='module')
def clip_vocab(tmp_path_factory) -> str:
    return write_folder(tmp_path_factory.mktemp('clip') / 'vocabulary')


def build_encoder(kind: str, clip_vocab: str, **kwargs) -> torch.nn.Module:
    """Weights larger than start values, so that words tell one another apart."""
    torch.manual_seed(0)
    if kind == 'bert':
        encoder = BertTextEncoder(config={**CONFIG, 'vocab_size': 30522}, **kwargs)
    else:
        encoder = CLIPTextEncoder(vocab=clip_vocab, config=CONFIG, **kwargs)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return encoder.eval()


@pytest.fixture(scope='module', params=['bert', 'clip'])
def encoder(request, clip_vocab):
    return build_encoder(request.param, clip_vocab)


def read(encoder, ids: torch.Tensor) -> torch.Tensor:
    return encoder(TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), (ids.shape[1],) * len(ids)), causal=True)


@pytest.mark.parametrize('place', range(6))
@torch.no_grad()
def test_a_changed_word_changes_no_word_before_it(encoder, place):
    changed = IDS[:1].clone()
    changed[0, place] = 55
    here, there = (read(encoder, ids).hidden[0] for ids in (IDS[:1], changed))
    assert torch.equal(here[:place], there[:place])
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(here[place:], there[place:], strict=True))


@torch.no_grad()
def test_padding_changes_nothing(encoder):
    both = encoder(TOKENS, causal=True)
    assert both.causal and not encoder(TOKENS).causal
    for row, length in enumerate(LENGTHS):
        alone = read(encoder, IDS[row : row + 1, :length])
        torch.testing.assert_close(both.hidden[row, :length], alone.hidden[0], rtol=0, atol=1e-5)
    assert both.embedded[1, 4:].abs().max() == 0


@torch.no_grad()
def test_bert_reads_as_transformers_bert_does_when_it_is_a_decoder(clip_vocab):
    encoder = build_encoder('bert', clip_vocab, num_embedded_layers=2)
    config = BertConfig(**{**encoder.model.config.to_dict(), 'is_decoder': True})
    peer = BertModel(config, add_pooling_layer=False).eval()
    peer.load_state_dict(encoder.model.state_dict())
    outputs = peer(input_ids=IDS, attention_mask=TOKENS.mask.long(), use_cache=False, output_hidden_states=True)
    text, real = encoder(TOKENS, causal=True), TOKENS.mask
    torch.testing.assert_close(text.hidden[real], outputs.last_hidden_state[real], rtol=0, atol=1e-5)
    expected = (outputs.hidden_states[-1] + outputs.hidden_states[-2]) / 4
    torch.testing.assert_close(text.embedded[real], expected[real], rtol=0, atol=1e-5)


@torch.no_grad()
def test_clip_reads_as_transformers_clip_does(clip_vocab):
    encoder = build_encoder('clip', clip_vocab)
    peer = CLIPTextModel(encoder.model.config).eval()
    getattr(peer, 'text_model', peer).load_state_dict(encoder.model.state_dict())
    expected = peer(input_ids=IDS[:1]).last_hidden_state
    torch.testing.assert_close(read(encoder, IDS[:1]).hidden, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_word_by_word_is_the_whole_text(encoder):
    past, ids = None, IDS[:, :4]
    whole = read(encoder, ids).hidden
    for position in range(4):
        words, past = encoder.step(ids[:, position], position, past)
        torch.testing.assert_close(words[:, 0], whole[:, position], rtol=0, atol=1e-5)
    assert len(past) == 2 and past[0].keys.shape == (2, 4, 4, 6)


@torch.no_grad()
def test_texts_go_on_from_the_rows_that_are_chosen(encoder):
    """As beams do: both second words follow the first text's first word."""
    _, past = encoder.step(IDS[:, 0], 0, None)
    words, _ = encoder.step(IDS[:, 1], 1, tuple(kept.select(torch.tensor([0, 0])) for kept in past))
    texts = torch.stack((IDS[0, 0].expand(2), IDS[:, 1]), dim=1)
    torch.testing.assert_close(words[:, 0], read(encoder, texts).hidden[:, 1], rtol=0, atol=1e-5)


def test_equal_captions_are_encoded_once_and_stay_causal(encoder):
    prompts = [Prompt(text, (), False) for text in ('a red cat', 'a dog', 'a red cat')]
    text = encoder.encode(prompts, causal=True)
    assert text.causal and torch.equal(text.hidden[0], text.hidden[2])
    assert text.with_hidden(text.hidden).causal and text.select([1]).causal


@pytest.mark.parametrize('kind', ['bert', 'clip'])
def test_gradient_checkpointing_changes_no_gradient(kind, clip_vocab):
    gradients = []
    for saving in (False, True):
        encoder = build_encoder(kind, clip_vocab, grad_checkpointing=saving)
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        text = encoder.train()(TOKENS, causal=True)
        gradients.append(torch.autograd.grad(text.hidden[TOKENS.mask].square().sum(), list(encoder.parameters())))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


@pytest.fixture(params=[BertFusionLayer, ClipFusionLayer])
def layer(request):
    torch.manual_seed(0)
    layer = request.param(channels=24, num_heads=4, ffn_channels=36)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return layer.eval()


@torch.no_grad()
def test_text_layers_do_the_same(layer):
    words = torch.randn(2, 6, 24, generator=torch.Generator().manual_seed(1))
    mask, changed = TOKENS.mask, words.clone()
    changed[:, 3] += 1
    here, there = (layer(x, mask, causal=True) for x in (words, changed))
    assert torch.equal(here[:, :3], there[:, :3])
    assert not torch.allclose(here[0, 3:], there[0, 3:], atol=1e-3)
    # the last word sees what it always sees
    torch.testing.assert_close(here[0, -1], layer(words, mask)[0, -1], rtol=0, atol=1e-5)
    past: KeyValues | None = None
    for place in range(4):
        step, past = layer.step(words[:, place : place + 1], past)
        torch.testing.assert_close(step[:, 0], here[:, place], rtol=0, atol=1e-5)


def causal_text(lengths=(6, 4), seed: int = 0) -> TextFeatures:
    text = text_features(lengths, seed=seed)
    return TextFeatures(text.hidden, text.embedded, text.mask, text.lengths, causal=True)


@torch.no_grad()
def test_the_image_never_sees_a_causal_text():
    neck, levels = build_neck(), pyramid()
    one, other = neck(levels, causal_text(seed=0)), neck(levels, causal_text((3, 5), seed=5))
    assert all(torch.equal(a, b) for a, b in zip(one.levels, other.levels, strict=True))
    with_words = neck(levels, text_features((6, 4)))
    assert not torch.allclose(one.levels[0], with_words.levels[0], atol=1e-4)
    # words read the image all the same
    elsewhere = neck(pyramid(seed=9), causal_text(seed=0)).words
    assert not torch.allclose(one.words[0], elsewhere[0], atol=1e-3)


@torch.no_grad()
def test_a_changed_word_changes_no_fused_word_before_it():
    neck, levels, text = build_neck(), pyramid(), causal_text()
    changed = text.hidden.clone()
    changed[:, 2] = changed[:, 2].flip(-1)
    here, there = neck(levels, text).words, neck(levels, text.with_hidden(changed)).words
    torch.testing.assert_close(here[:, :2], there[:, :2], rtol=0, atol=1e-6)
    assert not torch.allclose(here[:, 2:4], there[:, 2:4], atol=1e-3)


@pytest.mark.parametrize('text_layer', ['bert', 'clip'])
@torch.no_grad()
def test_fusion_word_by_word_is_fusion_of_the_whole_text(text_layer):
    """Three texts of each image side by side, as beams are."""
    neck = build_neck(text_layer=text_layer)
    image = neck.encode_image(pyramid())
    words = torch.randn(6, 4, 32, generator=torch.Generator().manual_seed(3))
    lengths = (4,) * 2
    mask = torch.ones(2, 4, dtype=torch.bool)
    past = None
    for place in range(4):
        step, past = neck.step(image, words[:, place : place + 1], past)
        for beam in range(3):
            hidden = words.unflatten(0, (2, 3))[:, beam]
            whole = neck.fuse_text(image, TextFeatures(hidden, hidden, mask, lengths, causal=True)).words
            torch.testing.assert_close(step.view(2, 3, -1)[:, beam], whole[:, place], rtol=0, atol=1e-5)


@torch.no_grad()
def test_images_can_be_taken_out_and_levels_left_out():
    neck, text = build_neck(), causal_text()
    image = neck.encode_image(pyramid())
    assert image.select([0, 1]) is image
    whole = neck.fuse_text(image, text)
    alone = neck.fuse_text(image.select([1]), text.select([1]))
    torch.testing.assert_close(alone.words, whole.words[1:, :4], rtol=0, atol=1e-5)
    assert torch.equal(alone.levels[0], whole.levels[0][1:])
    bare = neck.encode_image(pyramid(), final_levels=False)
    assert bare.levels == () and all(torch.equal(a, b) for a, b in zip(bare.tokens, image.tokens, strict=True))


def test_gradient_checkpointing_changes_no_gradient_of_the_neck():
    gradients = []
    for saving in (False, True):
        neck = build_neck(grad_checkpointing=saving)
        fused = neck(pyramid(), causal_text())
        loss = sum(level.square().sum() for level in fused.levels) + fused.words.square().sum()
        used = [
            value
            for name, value in neck.named_parameters()
            if not any(part in name for part in ('text_value', 'image_out', 'gamma_image'))
        ]
        gradients.append(torch.autograd.grad(loss, used))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_a_neck_without_early_fusion_says_so():
    with pytest.raises(ValueError, match='early_fusion=False, where words never see the image'):
        build_neck(early_fusion=False)(pyramid(), causal_text())
