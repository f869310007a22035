"""A whole detector on odd images, boxes and texts: losses are finite, every parameter takes part, and it predicts."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import InstanceData

from benchmarks.reliability.number_cases import BOX_SETS, detector, make_model, sample
from glipv2_mmdet.models.detectors import captioning
from glipv2_mmdet.models.task_heads import vqa_head
from tests.test_models.nano import TEXT_CHANNELS, build_detector, data_sample, text_features


def train(shape, boxes):
    model, batch = make_model(shape, boxes)
    losses = model(**batch, mode='loss')
    sum(losses.values()).backward()
    bad = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    return {name: float(loss.detach()) for name, loss in losses.items()}, bad


@pytest.mark.parametrize('shape', [(1, 2000), (2000, 1), (1, 1), (33, 31), (128, 128)])
def test_images_of_any_shape_train_and_predict(shape):
    losses, bad = train(shape, 'one')
    assert bad == [] and all(loss < 100 for loss in losses.values())  # a NaN is not
    model, batch = make_model(shape, 'none')
    with torch.no_grad():
        (result,) = model.eval()(**batch, mode='predict')
    found = result.pred_instances
    assert found.masks.shape == (len(found), *shape)
    assert found.bboxes.isfinite().all() and found.scores.isfinite().all()


@pytest.mark.parametrize('boxes', [name for name in BOX_SETS if name not in ('one', 'none')])
def test_boxes_of_any_kind_and_number_train(boxes):
    losses, bad = train((64, 64), boxes)
    assert bad == [] and all(loss < 100 for loss in losses.values())
    if boxes in ('no area', 'inverted', 'outside'):  # nobody answers for these
        assert losses['loss_bbox'] == losses['loss_centerness'] == losses['loss_inter'] == 0


def test_a_batch_of_empty_images_costs_nothing_but_its_words_and_all_take_part():
    losses, bad = train((64, 64), 'none')
    assert bad == []
    assert {name: loss for name, loss in losses.items() if name not in ('loss_cls', 'loss_mlm')} == dict(
        loss_bbox=0, loss_centerness=0, loss_inter=0, loss_mask=0
    )
    assert 0 < losses['loss_cls'] < 1


@torch.no_grad()
def test_hundreds_of_boxes_are_found_and_none():
    model, _ = detector()
    model.eval()
    batch = dict(inputs=[torch.zeros(3, 96, 96, dtype=torch.uint8)], data_samples=[sample((96, 96), 'none')])
    for limit, threshold in ((500, 0.0), (500, 1.0)):
        model.bbox_head.test_cfg.update(
            max_per_img=limit, score_thr=threshold, nms_pre=1000, nms=dict(type='nms', iou_threshold=0.95)
        )
        (result,) = model(**model.data_preprocessor(batch, False), mode='predict')
        found = result.pred_instances
        assert isinstance(found, InstanceData)
        assert found.masks.shape == (len(found), 96, 96)
        assert len(found) == 0 if threshold else len(found) > 200


@torch.no_grad()
def test_texts_of_three_and_of_256_tokens_say_together_what_each_says_alone():
    model = build_detector().eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    samples = [data_sample(('cat',)), data_sample(' '.join(['cat'] * 254), tokens_positive=[[[0, 3]]])]
    lengths = [len(model.language_model.tokenizer(model.inference_prompt(item)).input_ids) for item in samples]
    assert lengths == [3, 256]
    both = model(images, samples, mode='tensor')
    for row, length in enumerate(lengths):
        alone = model(images[row : row + 1], samples[row : row + 1], mode='tensor')
        for field in ('box_deltas', 'centerness'):
            torch.testing.assert_close(getattr(both, field)[row : row + 1], getattr(alone, field), rtol=0, atol=1e-5)
        torch.testing.assert_close(both.word_logits[row : row + 1, :, :length], alone.word_logits, rtol=0, atol=1e-5)


@torch.no_grad()
def test_captions_and_answers_that_are_no_numbers_are_told(monkeypatch):
    said = []
    for module in (captioning, vqa_head):
        monkeypatch.setattr(module, 'warn_not_finite', said.append)
    head = dict(type='CaptionHead', text_channels=TEXT_CHANNELS, vocab_size=30522)
    model = build_detector(dict(caption_head=head), caption=dict(max_words=3, grounded=True))
    model.caption_head.bias.fill_(float('nan'))
    (result,) = model.predict(torch.zeros(1, 3, 64, 64), [data_sample()])
    assert result.pred_caption.text == '' and len(result.pred_instances) == 0
    answers = vqa_head.VQAHead(TEXT_CHANNELS, num_answers=2, answers=('yes', 'no'))
    answers.predict(text_features((3,)))
    assert said == ['scores of words']
    answers.classifier.bias.fill_(float('nan'))
    answers.predict(text_features((3,)))
    assert said == ['scores of words', 'scores of answers']
