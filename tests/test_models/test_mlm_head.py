"""MLMHead: tied decoder, hidden places only, the mean over all ranks, and the empty case."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from glipv2_mmdet.models.task_heads import MLMHead, mlm_head
from glipv2_mmdet.text import MaskedTokens, PromptTokenizer, prompt_from_classes

CHANNELS, VOCAB = 12, 30
EMBEDDINGS = torch.randn(VOCAB, CHANNELS, generator=torch.Generator().manual_seed(1))
WORDS = torch.randn(2, 5, CHANNELS, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def head() -> MLMHead:
    torch.manual_seed(0)
    return MLMHead(CHANNELS, VOCAB)


def hidden(positions, targets) -> MaskedTokens:
    """Places and ids; the head does not look at the tokens."""
    return MaskedTokens(None, torch.tensor(positions, dtype=torch.long), torch.tensor(targets, dtype=torch.long))


def test_uniform_scores_cost_the_logarithm_of_the_vocabulary(head):
    loss = head.loss(WORDS, hidden([1, 7], [3, 29]), torch.zeros(VOCAB, CHANNELS))
    assert loss.item() == pytest.approx(math.log(VOCAB), rel=1e-6)


def test_computes_what_berts_head_computes(head):
    """The same layers from transformers, with the same weights."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLMPredictionHead

    bert = BertLMPredictionHead(BertConfig(hidden_size=CHANNELS, vocab_size=VOCAB))
    bert.transform.dense, bert.transform.LayerNorm = head.dense, head.norm
    bert.decoder.weight = nn.Parameter(EMBEDDINGS)
    nn.init.normal_(head.bias)
    bert.decoder.bias = bert.bias = head.bias
    torch.testing.assert_close(head(WORDS, EMBEDDINGS), bert(WORDS))


def test_only_hidden_places_are_read(head):
    words = WORDS.clone().requires_grad_()
    loss = head.loss(words, hidden([1, 7], [3, 29]), EMBEDDINGS)
    loss.backward()
    assert words.grad.abs().sum(dim=-1).flatten().nonzero().flatten().tolist() == [1, 7]
    logits = head(WORDS, EMBEDDINGS).flatten(0, 1)
    expected = nn.functional.cross_entropy(logits[[1, 7]], torch.tensor([3, 29]))
    torch.testing.assert_close(loss, expected)


def test_decoder_is_the_encoders_table_and_not_a_second_one(head):
    table = EMBEDDINGS.clone().requires_grad_()
    head.loss(WORDS, hidden([1], [3]), table).backward()
    assert table.grad.abs().sum() > 0
    assert sorted(head.state_dict()) == ['bias', 'dense.bias', 'dense.weight', 'norm.bias', 'norm.weight']


def test_own_decoder_serves_embeddings_of_another_width():
    head = MLMHead(CHANNELS, VOCAB, tie_word_embeddings=False)
    assert head(WORDS, torch.zeros(VOCAB, 5)).shape == (2, 5, VOCAB)
    assert head.decoder.weight.shape == (VOCAB, CHANNELS)


@pytest.mark.parametrize('shape', [(VOCAB, 5), (7, CHANNELS)])
def test_embeddings_that_do_not_fit_are_named(head, shape):
    with pytest.raises(ValueError, match=r'have shape \(\d+, \d+\), the MLM head expects \(30, 12\)'):
        head(WORDS, torch.zeros(shape))


def test_nothing_hidden_is_exactly_zero_and_every_parameter_gets_a_gradient(head):
    table = EMBEDDINGS.clone().requires_grad_()
    loss = head.loss(WORDS, hidden([], []), table)
    assert loss.item() == 0
    loss.backward()
    assert [float(parameter.grad.abs().max()) for parameter in (table, *head.parameters())] == [0.0] * 6


def test_divisor_is_the_mean_over_ranks(head, monkeypatch):
    alone = head.loss(WORDS, hidden([1, 7], [3, 29]), EMBEDDINGS)
    # another rank hid six words: (2 + 6) / 2
    monkeypatch.setattr(mlm_head, 'mean_over_ranks', lambda value: (value + 6) / 2)
    torch.testing.assert_close(head.loss(WORDS, hidden([1, 7], [3, 29]), EMBEDDINGS), alone / 2)


def test_loss_weight_is_a_factor(head):
    alone = head.loss(WORDS, hidden([1, 7], [3, 29]), EMBEDDINGS)
    head.loss_weight = 0.5
    torch.testing.assert_close(head.loss(WORDS, hidden([1, 7], [3, 29]), EMBEDDINGS), alone / 2)


def test_settings_reach_the_masking():
    tokenizer = PromptTokenizer()
    head = MLMHead(CHANNELS, VOCAB, mask_probability=1.0, mask_share=0.0, random_share=0.0)
    prompts = [tokenizer(prompt_from_classes(['cat', 'red car']))] * 2
    masked = head.mask(prompts, [[1], [0, 1]], tokenizer)
    # [CLS] cat . red car [SEP]; all are chosen and all stay as they are
    assert masked.positions.tolist() == [3, 4, 6 + 1, 6 + 3, 6 + 4]
    assert masked.tokens.input_ids.tolist() == [list(prompts[0].input_ids)] * 2
