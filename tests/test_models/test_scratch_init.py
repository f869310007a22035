"""Start values of a text encoder without pre-training: heads that look at their neighbours, words told apart."""

from __future__ import annotations

import pytest
import torch

from glipv2_mmdet.models.language_models import BertTextEncoder
from glipv2_mmdet.models.language_models.scratch_init import NEIGHBOURS, init_from_scratch
from glipv2_mmdet.text import parse_prompt

CONFIG = dict(
    hidden_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=32,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.08,
    attn_implementation='eager',
)
PROMPT = parse_prompt([f'{colour} {shape}' for colour in ('red', 'green', 'blue') for shape in ('circle', 'square')])


@pytest.fixture(scope='module')
def encoder() -> BertTextEncoder:
    torch.manual_seed(0)
    encoder = BertTextEncoder(config=CONFIG, from_scratch=True).eval()
    encoder.init_weights()
    return encoder


@torch.no_grad()
def test_each_head_looks_at_its_neighbour(encoder):
    tokens = encoder.tokenizer.collate([encoder.tokenizer(PROMPT)])
    attention = encoder.model(input_ids=tokens.input_ids, output_attentions=True).attentions[0][0]
    length = attention.shape[-1]
    for head, shift in enumerate(NEIGHBOURS):
        seen = attention[head].diagonal(shift)  # how much word i looks at word i + shift
        assert len(seen) == length - abs(shift)
        assert seen.min() > 0.5, f'head {head} should look {shift} words ahead'


@torch.no_grad()
def test_a_word_depends_on_its_neighbour(encoder):
    """Without neighbour heads the "red" of both names would be nearly one vector (cosine above 0.99)."""
    words = torch.nn.functional.normalize(encoder.encode([PROMPT]).hidden[0], dim=-1)
    # [CLS] red circle . red square . green ...
    red_circle, red_square, green_circle = words[1], words[4], words[7]
    assert encoder.tokenizer(PROMPT).input_ids[1] == encoder.tokenizer(PROMPT).input_ids[4]
    assert red_circle @ red_square < 0.9
    assert red_circle @ red_square > red_circle @ green_circle + 0.3


def test_an_odd_head_width_is_refused():
    encoder = BertTextEncoder(config=CONFIG | dict(hidden_size=36))
    with pytest.raises(ValueError, match=r'9 wide \(36 channels, 4 heads\); expected an even width'):
        init_from_scratch(encoder.model)


def test_frozen_words_get_no_gradient_and_the_rest_does():
    encoder = BertTextEncoder(config=CONFIG, frozen_words=True)
    encoder.encode([PROMPT]).hidden.sum().backward()
    without = {name for name, parameter in encoder.named_parameters() if parameter.grad is None}
    assert without == {'model.embeddings.word_embeddings.weight'}
    assert not encoder.model.embeddings.word_embeddings.weight.requires_grad
