"""CaptionHead: which word predicts which token, cross entropy written out, and what is not learnt."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from glipv2_mmdet.models.task_heads import CaptionHead, MLMHead, caption_head
from glipv2_mmdet.models.task_heads.caption_head import next_word_targets
from glipv2_mmdet.text import Prompt, PromptTokenizer

CHANNELS = 12
TOKENIZER = PromptTokenizer()
VOCAB = TOKENIZER.vocab_size
EMBEDDINGS = torch.randn(VOCAB, CHANNELS, generator=torch.Generator().manual_seed(1))
WORDS = torch.randn(2, 6, CHANNELS, generator=torch.Generator().manual_seed(2))
END = TOKENIZER.end_id


def tokenize(*texts: str, tokenizer: PromptTokenizer = TOKENIZER) -> list:
    return [tokenizer(Prompt(text, (), is_detection=False)) for text in texts]


def ids_of(text: str) -> list[int]:
    return list(tokenize(text)[0].input_ids[1:-1])


CAPTIONS = tokenize('a red cat', 'a dog')


@pytest.fixture
def head() -> CaptionHead:
    torch.manual_seed(0)
    return CaptionHead(CHANNELS, VOCAB, label_smoothing=0.0)


def test_each_real_word_predicts_the_token_behind_it():
    places, targets = next_word_targets(CAPTIONS, 6, TOKENIZER)
    # from the start token to the last word, padding and the end token predict nothing
    assert places == [0, 1, 2, 3, 6, 7, 8]
    assert targets == [*ids_of('a red cat'), END, *ids_of('a dog'), END]


def test_a_caption_that_was_cut_does_not_teach_to_stop():
    short = PromptTokenizer(max_tokens=5)
    (cut,) = tokenize('a red cat on a mat', tokenizer=short)
    assert cut.is_cut and len(cut.input_ids) == 5
    assert next_word_targets([cut], 5, short) == ([0, 1, 2], ids_of('a red cat'))
    (whole,) = tokenize('a red cat', tokenizer=short)
    assert not whole.is_cut and next_word_targets([whole], 5, short)[1][-1] == END


def test_unknown_characters_are_read_and_not_learnt():
    (caption,) = tokenize('a \u1680\u2603\ufe0f\u16a0 cat')
    unknown = TOKENIZER.tokenizer.unk_token_id
    place = caption.input_ids.index(unknown)
    places, targets = next_word_targets([caption], len(caption.input_ids), TOKENIZER)
    assert unknown not in targets and place - 1 not in places and place in places


def test_loss_is_the_cross_entropy_of_the_next_words(head):
    loss = head.loss(WORDS, CAPTIONS, TOKENIZER, EMBEDDINGS)
    log_probs = head(WORDS, EMBEDDINGS).detach().log_softmax(-1).flatten(0, 1)
    expected = [
        float(log_probs[place, token])
        for place, token in zip([0, 1, 2, 3, 6, 7, 8], [*ids_of('a red cat'), END, *ids_of('a dog'), END], strict=True)
    ]
    assert loss.item() == pytest.approx(-sum(expected) / 7, rel=1e-5)


def test_label_smoothing_spreads_over_the_vocabulary(head):
    plain = head.loss(WORDS, CAPTIONS, TOKENIZER, EMBEDDINGS)
    places = [0, 1, 2, 3, 6, 7, 8]
    uniform = -head(WORDS, EMBEDDINGS).log_softmax(-1).flatten(0, 1)[places].mean()
    head.label_smoothing = 0.1
    torch.testing.assert_close(
        head.loss(WORDS, CAPTIONS, TOKENIZER, EMBEDDINGS), 0.9 * plain + 0.1 * uniform, rtol=1e-5, atol=1e-5
    )


def test_padding_is_not_read(head):
    words = WORDS.clone().requires_grad_()
    head.loss(words, CAPTIONS, TOKENIZER, EMBEDDINGS).backward()
    assert words.grad.abs().sum(dim=-1).flatten().nonzero().flatten().tolist() == [0, 1, 2, 3, 6, 7, 8]


def test_is_the_mlm_heads_twin(head):
    mlm = MLMHead(CHANNELS, VOCAB)
    mlm.load_state_dict(head.state_dict())
    torch.testing.assert_close(mlm(WORDS, EMBEDDINGS), head(WORDS, EMBEDDINGS))
    assert sorted(head.state_dict()) == ['bias', 'dense.bias', 'dense.weight', 'norm.bias', 'norm.weight']
    own = CaptionHead(CHANNELS, 40, tie_word_embeddings=False)
    assert own(WORDS, torch.zeros(40, 5)).shape == (2, 6, 40)
    with pytest.raises(ValueError, match=r'have shape \(40, 5\), the caption head expects'):
        head(WORDS, torch.zeros(40, 5))


def test_uniform_scores_cost_the_logarithm_of_the_vocabulary(head):
    nn.init.zeros_(head.bias)
    loss = head.loss(WORDS, CAPTIONS, TOKENIZER, torch.zeros(VOCAB, CHANNELS))
    assert loss.item() == pytest.approx(math.log(VOCAB), rel=1e-5)


def test_divisor_is_the_mean_over_ranks_and_the_weight_a_factor(head, monkeypatch):
    alone = head.loss(WORDS, CAPTIONS, TOKENIZER, EMBEDDINGS)
    # another rank had 21 words: (7 + 21) / 2
    monkeypatch.setattr(caption_head, 'mean_over_ranks', lambda value: (value + 21) / 2)
    head.loss_weight = 0.5
    torch.testing.assert_close(head.loss(WORDS, CAPTIONS, TOKENIZER, EMBEDDINGS), alone / 4)
