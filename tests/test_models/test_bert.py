"""BertTextEncoder: padding, repeated prompts, averaged layers, errors."""

from __future__ import annotations

import pytest
import torch

from glipv2_mmdet.models.language_models import BertTextEncoder
from glipv2_mmdet.text import parse_prompt

CONFIG = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
PROMPTS = [parse_prompt(['cat']), parse_prompt(['red car', 'dog'])]


@pytest.fixture(scope='module')
def encoder() -> BertTextEncoder:
    torch.manual_seed(0)
    return BertTextEncoder(config=CONFIG).eval()


@torch.no_grad()
def test_batched_equals_single(encoder):
    both = encoder.encode(PROMPTS)
    assert both.lengths == (3, 6) and both.mask.sum(dim=1).tolist() == [3, 6]
    for i, length in enumerate(both.lengths):
        single = encoder.encode(PROMPTS[i : i + 1])
        torch.testing.assert_close(both.hidden[i, :length], single.hidden[0], rtol=0, atol=1e-5)
    assert both.embedded[0, 3:].abs().max() == 0
    assert torch.equal(both.embedded[0, :3], both.hidden[0, :3])


@torch.no_grad()
def test_each_distinct_text_is_encoded_once(encoder, monkeypatch):
    encoder.cache.clear()  # of what other tests have encoded
    forward, rows = encoder.model.forward, []
    monkeypatch.setattr(
        encoder.model, 'forward', lambda **kwargs: rows.append(len(kwargs['input_ids'])) or forward(**kwargs)
    )
    text = encoder.encode([PROMPTS[1], PROMPTS[0], PROMPTS[1]])
    assert rows == [2]
    assert text.lengths == (6, 3, 6)
    assert torch.equal(text.hidden[0], text.hidden[2])
    torch.testing.assert_close(text.hidden[1, :3], encoder.encode(PROMPTS[:1]).hidden[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_embedded_is_the_mean_of_the_last_layers_divided_once_more(encoder):
    averaging = BertTextEncoder(config=CONFIG, num_embedded_layers=2).eval()
    averaging.load_state_dict(encoder.state_dict())
    text = averaging.encode(PROMPTS[1:])
    tokens = averaging.tokenizer.collate([averaging.tokenizer(PROMPTS[1])])
    layers = averaging.model(input_ids=tokens.input_ids, output_hidden_states=True).hidden_states
    torch.testing.assert_close(text.embedded, (layers[-1] + layers[-2]) / 4)
    torch.testing.assert_close(text.hidden, layers[-1])


def test_gradient_checkpointing_changes_no_gradient(encoder):
    saving = BertTextEncoder(config=CONFIG, grad_checkpointing=True)
    saving.load_state_dict(encoder.state_dict())
    assert saving.model.is_gradient_checkpointing and not encoder.model.is_gradient_checkpointing
    for module in saving.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    gradients = []
    for model in (encoder, saving.train()):
        loss = model.encode(PROMPTS).hidden[:, :3].square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_there_is_no_pooler(encoder):
    assert encoder.model.pooler is None
    assert encoder.channels == 24


def test_vocabulary_larger_than_the_embedding_is_named():
    with pytest.raises(ValueError, match='has 30522 entries, the embedding of the text encoder 100'):
        BertTextEncoder(config=dict(CONFIG, vocab_size=100))


def test_folder_without_config_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'has no config.json'):
        BertTextEncoder(config=str(tmp_path))
