"""CLIPTextEncoder: every word sees every word, padding changes nothing, same layers as transformers' CLIP."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPTextModel

from glipv2_mmdet.models.language_models import CLIPTextEncoder
from glipv2_mmdet.text import parse_prompt
from tests.tiny_clip import VOCAB_SIZE, write_folder

CONFIG = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
PROMPTS = [parse_prompt(['cat']), parse_prompt(['red car', 'dog'])]


@pytest.fixture(scope='module')
def vocab(tmp_path_factory) -> str:
    return write_folder(tmp_path_factory.mktemp('clip') / 'vocabulary')


def build(vocab: str, **kwargs) -> CLIPTextEncoder:
    """Weights larger than start values, so that words tell one another apart."""
    torch.manual_seed(0)
    encoder = CLIPTextEncoder(vocab=vocab, config=CONFIG, **kwargs)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return encoder.eval()


@pytest.fixture(scope='module')
def encoder(vocab) -> CLIPTextEncoder:
    return build(vocab)


def tokens_of(encoder, *prompts):
    return encoder.tokenizer.collate([encoder.tokenizer(prompt) for prompt in prompts])


@torch.no_grad()
def test_batched_equals_single(encoder):
    both = encoder.encode(PROMPTS)
    assert both.lengths == (3, 6)
    for i, length in enumerate(both.lengths):
        single = encoder.encode(PROMPTS[i : i + 1])
        torch.testing.assert_close(both.hidden[i, :length], single.hidden[0], rtol=0, atol=1e-5)
    assert both.embedded[0, 3:].abs().max() == 0
    assert torch.equal(both.embedded[0, :3], both.hidden[0, :3])


@pytest.mark.parametrize('padded', [False, True])
@torch.no_grad()
def test_the_first_word_sees_the_last(encoder, padded):
    longest = [parse_prompt(['red car', 'dog', 'cat', 'red dog'])] if padded else []
    here = encoder(tokens_of(encoder, parse_prompt(['red car', 'dog']), *longest))
    there = encoder(tokens_of(encoder, parse_prompt(['red car', 'cat']), *longest))
    assert not torch.allclose(here.hidden[0, 1], there.hidden[0, 1], atol=1e-3)


@torch.no_grad()
def test_equals_transformers_clip_where_that_reads_left_to_right_too(encoder):
    """Only the mask differs: on one token there is none, and on more the last one sees all in both."""
    peer = CLIPTextModel(encoder.model.config).eval()
    getattr(peer, 'text_model', peer).load_state_dict(encoder.model.state_dict())
    tokens = tokens_of(encoder, PROMPTS[1])
    one = tokens.input_ids[:, :1]
    hidden = encoder.model.final_layer_norm(
        encoder.model.encoder(inputs_embeds=encoder.model.embeddings(input_ids=one)).last_hidden_state
    )
    torch.testing.assert_close(hidden, peer(input_ids=one).last_hidden_state)
    single_layer = CLIPTextEncoder(encoder.tokenizer.vocab, dict(CONFIG, num_hidden_layers=1)).eval()
    single_layer.load_state_dict(encoder.state_dict(), strict=False)
    peer = CLIPTextModel(single_layer.model.config).eval()
    getattr(peer, 'text_model', peer).load_state_dict(single_layer.model.state_dict())
    expected = peer(input_ids=tokens.input_ids).last_hidden_state
    got = single_layer(tokens).hidden
    torch.testing.assert_close(got[:, -1], expected[:, -1])
    assert not torch.allclose(got[:, 0], expected[:, 0], atol=1e-3)


@torch.no_grad()
def test_each_distinct_text_is_encoded_once(encoder, monkeypatch):
    encoder.cache.clear()  # of what other tests have encoded
    rows = []
    forward = encoder.model.encoder.forward
    monkeypatch.setattr(
        encoder.model.encoder,
        'forward',
        lambda **kwargs: rows.append(len(kwargs['inputs_embeds'])) or forward(**kwargs),
    )
    text = encoder.encode([PROMPTS[1], PROMPTS[0], PROMPTS[1]])
    assert rows == [2] and text.lengths == (6, 3, 6) and torch.equal(text.hidden[0], text.hidden[2])


def test_gradient_checkpointing_changes_no_gradient(encoder, vocab):
    saving = CLIPTextEncoder(vocab, CONFIG, grad_checkpointing=True).train()
    saving.load_state_dict(encoder.state_dict())
    assert all(layer.gradient_checkpointing for layer in saving.model.encoder.layers)
    gradients = []
    for model in (encoder, saving):
        loss = model.encode(PROMPTS).embedded.square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_the_published_sizes_are_the_default(vocab):
    with torch.device('meta'):
        encoder = CLIPTextEncoder(vocab)
    assert encoder.channels == 512 and encoder.word_embeddings.shape == (49408, 512)
    assert encoder.model.embeddings.position_embedding.weight.shape == (256, 512)
    assert len(encoder.model.encoder.layers) == 12 and encoder.model.config.num_attention_heads == 8
    assert encoder.model.final_layer_norm.eps == 1e-12


def test_vocabulary_larger_than_the_embedding_is_named(vocab):
    with pytest.raises(ValueError, match=f'has {VOCAB_SIZE} entries, the embedding of the text encoder 100'):
        CLIPTextEncoder(vocab, dict(CONFIG, vocab_size=100))


def test_fewer_positions_than_tokens_are_refused(vocab):
    with pytest.raises(ValueError, match='has 77 positions, prompts may have 256 tokens'):
        CLIPTextEncoder(vocab, dict(CONFIG, max_position_embeddings=77))


def test_a_missing_vocabulary_says_what_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'For CLIP, put its vocab.json and merges.txt into that folder'):
        CLIPTextEncoder(str(tmp_path / 'clip'), CONFIG)


def test_folder_without_config_is_named(vocab, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no config.json. Give the folder of a CLIP text model'):
        CLIPTextEncoder(vocab, str(tmp_path))
