"""VQAHead: pooling, loss, and answers in words."""

import math

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from tests.test_models.nano import TEXT_CHANNELS, text_features


def _head(num_answers=3, answers=('yes', 'no', '2'), **settings):
    torch.manual_seed(0)
    head = MODELS.build(
        dict(type='VQAHead', text_channels=TEXT_CHANNELS, num_answers=num_answers, answers=answers, **settings)
    )
    return head.eval()


def test_padding_and_other_questions_change_nothing():
    head, text = _head(), text_features((6, 3))
    both = head(text)
    assert both.shape == (2, 3)
    for row in (0, 1):
        assert_close(head(text.select([row])), both[row : row + 1])


def test_infinite_padding_is_not_read():
    head, text = _head(), text_features((6, 3))
    spoilt = text.with_hidden(text.hidden.masked_fill(~text.mask.unsqueeze(-1), float('inf')))
    assert_close(head(spoilt), head(text))


def test_pooling_follows_the_attention():
    head, text = _head(), text_features((4,))
    with torch.no_grad():
        head.attention.weight.zero_()
    pooled = head.norm(text.hidden).mean(dim=1)
    assert_close(head(text), head.classifier(head.layers(pooled)))
    with torch.no_grad():  # all attention on one word
        head.attention.weight.copy_(1000 * head.norm(text.hidden)[0, 2])
    assert_close(head(text), head.classifier(head.layers(head.norm(text.hidden)[:, 2])))


def test_the_loss_is_summed_over_answers_and_averaged_over_questions():
    head, text = _head(loss_weight=2.0), text_features((6, 3))
    with torch.no_grad():
        head.classifier.weight.zero_()
        head.classifier.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    targets = torch.tensor([[0.3, 1.0, 0.0], [0.0, 0.0, 0.0]])

    def bce(logit, target):
        return -(target * math.log(1 / (1 + math.exp(-logit))) + (1 - target) * math.log(1 / (1 + math.exp(logit))))

    first = bce(0, 0.3) + bce(1, 1) + bce(-1, 0)
    second = bce(0, 0) + bce(1, 0) + bce(-1, 0)
    assert head.loss(text, targets).item() == pytest.approx(2 * (first + second) / 2, rel=1e-5)


def test_start_values_expect_one_answer_per_question():
    head = _head(num_answers=21, answers=None)
    head.init_weights()
    assert_close(head.classifier.bias.sigmoid(), torch.full((21,), 1 / 21))


def test_the_best_answers_come_first_and_no_more_than_asked_for():
    head, text = _head(test_cfg=dict(num_answers_kept=2)), text_features((6, 3))
    with torch.no_grad():
        head.classifier.weight.zero_()
        head.classifier.bias.copy_(torch.tensor([0.0, 2.0, -1.0]))
    for answers in head.predict(text):
        assert answers.texts == ('no', 'yes') and answers.best == 'no'
        assert answers.scores == pytest.approx((1 / (1 + math.exp(-2)), 0.5))


def test_gradients_reach_every_part():
    head, text = _head().train(), text_features((6, 3))
    head.loss(text, torch.tensor([[1.0, 0, 0], [0, 0.6, 0]])).backward()
    assert [name for name, parameter in head.named_parameters() if parameter.grad is None] == []


def test_a_head_without_words_trains_and_cannot_spell():
    head, text = _head(answers=None), text_features((6, 3))
    assert torch.isfinite(head.loss(text, torch.zeros(2, 3)))
    with pytest.raises(ValueError, match=r'Set model.vqa_head.answers'):
        head.predict(text)


def test_sizes_have_to_agree(tmp_path):
    with pytest.raises(ValueError, match='vocabulary has 3 entries, the VQA head num_answers=4'):
        _head(num_answers=4)
    with pytest.raises(ValueError, match=r'targets have shape \(2, 4\), the VQA head expects \(2, 3\)'):
        _head().loss(text_features((6, 3)), torch.zeros(2, 4))
    with pytest.raises(FileNotFoundError, match=r'vqa_vocabulary\.py'):
        _head(answers=str(tmp_path / 'none.json'))


def test_weights_of_another_vocabulary_are_refused():
    weights = _head().state_dict()
    _head().load_state_dict(weights)
    for other in (('no', 'yes', '2'), ('yes', 'no', '3')):
        with pytest.raises(ValueError, match='another answer vocabulary'):
            _head(answers=other).load_state_dict(weights)


def test_weights_that_were_trained_without_words_take_any_vocabulary():
    head = _head()
    head.load_state_dict(_head(answers=None).state_dict())
    assert head.answers is not None
