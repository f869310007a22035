"""A whole detector that is asked something: losses, answers, and boxes where it is grounded."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from glipv2_mmdet.structures import Answers
from tests.test_models.nano import TEXT_CHANNELS, build_detector, data_sample

ANSWERS = ('yes', 'no', '2')
QUESTION = 'is there a red star?'
GROUNDING = {'loss_cls', 'loss_bbox', 'loss_centerness'}


def _detector(grounded=False, **test_cfg):
    head = dict(type='VQAHead', text_channels=TEXT_CHANNELS, num_answers=3, answers=ANSWERS, grounded=grounded)
    return build_detector(dict(vqa_head=head, frozen_parts=() if grounded else ('bbox_head',)), **test_cfg)


def _scores(*values):
    return np.array(values, dtype=np.float32)


def _images(count, seed=0):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_a_plain_question_has_one_loss_and_needs_no_boxes():
    detector = _detector()
    losses = detector.loss(_images(1), [data_sample(QUESTION, answer_scores=_scores(1, 0, 0))])
    assert set(losses) == {'loss_vqa'}
    losses['loss_vqa'].backward()
    for part in ('backbone', 'neck', 'language_model', 'vqa_head'):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in getattr(detector, part).parameters()), part
    assert all(p.grad is None for p in detector.bbox_head.parameters())


def test_questions_of_one_image_together_have_the_loss_of_each_alone():
    detector, images = _detector(), _images(2)
    asked = [
        (0, QUESTION, _scores(1, 0, 0)),
        (0, 'how many stars are there?', _scores(0, 0, 0.9)),
        (1, QUESTION, _scores(0, 1, 0)),
    ]
    together = [
        data_sample(
            questions=[text for image, text, _ in asked if image == 0],
            answer_scores=np.stack([scores for image, _, scores in asked if image == 0]),
        ),
        data_sample(QUESTION, answer_scores=asked[2][2]),
    ]
    alone = [
        detector.loss(images[image : image + 1], [data_sample(text, answer_scores=scores)])['loss_vqa']
        for image, text, scores in asked
    ]
    assert_close(detector.loss(images, together)['loss_vqa'], torch.stack(alone).mean())


def test_a_grounded_question_adds_the_losses_of_its_boxes():
    detector = _detector(grounded=True)
    sample = data_sample(
        QUESTION,
        boxes=[[8, 8, 40, 40]],
        labels=[0],
        answer_scores=_scores(1, 0, 0),
        tokens_positive=[[[11, 19], [len(QUESTION) + 1, len(QUESTION) + 4]]],
    )
    losses = detector.loss(_images(1), [sample])
    assert set(losses) == {'loss_vqa', *GROUNDING}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())


def test_a_batch_without_questions_has_a_zero_loss_with_a_graph():
    detector = _detector(grounded=True)
    sample = data_sample(('star', 'cat'), boxes=[[8, 8, 40, 40]], labels=[0], custom_entities=True)
    losses = detector.loss(_images(1), [sample])
    assert set(losses) == {'loss_vqa', *GROUNDING} and losses['loss_vqa'] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in detector.vqa_head.parameters())


def test_plain_answers_come_without_boxes():
    detector = _detector()
    with torch.no_grad():
        results = detector.predict(_images(2), [data_sample(QUESTION), data_sample('how many stars are there?')])
    for result in results:
        assert isinstance(result.pred_answers, Answers) and set(result.pred_answers.texts) == set(ANSWERS)
        assert list(result.pred_answers.scores) == sorted(result.pred_answers.scores, reverse=True)
        assert 'pred_instances' not in result


def test_answers_of_a_batch_are_those_of_each_alone():
    detector, images = _detector(), _images(2)
    texts = [QUESTION, 'how many very small stars are there?']
    with torch.no_grad():
        batch = detector.predict(images, [data_sample(text) for text in texts])
        for row, text in enumerate(texts):
            alone = detector.predict(images[row : row + 1], [data_sample(text)])[0].pred_answers
            assert alone.texts == batch[row].pred_answers.texts
            assert alone.scores == pytest.approx(batch[row].pred_answers.scores, abs=1e-5)


def test_a_grounded_answer_has_boxes_for_phrases_and_for_the_answer():
    detector = _detector(grounded=True)
    with torch.no_grad():
        result = detector.predict(_images(1), [data_sample(QUESTION)])[0]
    assert result.pred_answers.best in ANSWERS
    names = set(result.pred_instances.label_names)
    assert 'answer' in names and any('star' in name for name in names)


def test_class_lists_are_no_questions():
    detector = _detector(grounded=True)
    samples = [data_sample(('star', 'cat'), custom_entities=True), data_sample('star . cat', custom_entities=True)]
    with torch.no_grad():
        for result in detector.predict(_images(2), samples):
            assert 'pred_answers' not in result
            assert set(result.pred_instances.label_names) <= {'star', 'cat'}


def test_errors_say_what_is_missing():
    with pytest.raises(ValueError, match=r'"is there a red star\?" has no answer_scores to learn from'):
        _detector().loss(_images(1), [data_sample(QUESTION)])
    head = dict(type='VQAHead', text_channels=TEXT_CHANNELS, num_answers=3)
    with pytest.raises(ValueError, match=r"Set frozen_parts=\('bbox_head',\)"):
        build_detector(dict(vqa_head=head))
