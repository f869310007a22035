"""L_inter and L_mlm inside the detector: switched on and off, and what each of them reads."""

from __future__ import annotations

import pytest
import torch

from glipv2_mmdet.models import GLIPv2, InterImageContrast, MLMHead
from tests.test_models.nano import CHANNELS, TEXT_CHANNELS, build_detector, data_sample

GROUNDING_LOSSES = ['loss_bbox', 'loss_centerness', 'loss_cls']


def detector_with(inter: bool = False, mlm: bool = False, **mlm_settings) -> GLIPv2:
    """The nano detector of the other tests in eval mode (no dropout), plus the losses."""
    detector = build_detector()
    torch.manual_seed(1)
    detector.inter_loss = InterImageContrast(CHANNELS, TEXT_CHANNELS) if inter else None
    detector.mlm_head = MLMHead(TEXT_CHANNELS, **mlm_settings) if mlm else None
    return detector


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(2, 3, 64, 64)


def samples() -> list:
    """A detection prompt and a sentence."""
    return [
        data_sample(('cat', 'red car'), boxes=[[4, 6, 50, 58]], labels=[1]),
        data_sample(
            'a dog near two old trees',
            tokens_positive=[[[0, 5]], [[15, 24]]],
            boxes=[[10, 10, 40, 30], [2, 2, 60, 60]],
            labels=[0, 1],
        ),
    ]


def test_all_losses_are_finite_and_reach_every_parameter(images):
    detector = detector_with(inter=True, mlm=True, mask_probability=0.5).train()
    losses = detector.loss(images, samples())
    assert sorted(losses) == [*GROUNDING_LOSSES, 'loss_inter', 'loss_mlm']
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, parameter in detector.named_parameters() if parameter.grad is None] == []


def test_grounding_losses_do_not_feel_the_inter_image_loss(images):
    with_it, without = detector_with(inter=True).loss(images, samples()), detector_with().loss(images, samples())
    assert sorted(without) == GROUNDING_LOSSES
    for name in GROUNDING_LOSSES:
        assert torch.equal(with_it[name], without[name])


def test_nothing_masked_is_the_loss_without_masking(images):
    detector = detector_with(mlm=True, mask_probability=0.0)
    losses, without = detector.loss(images, samples()), detector_with().loss(images, samples())
    assert losses.pop('loss_mlm').item() == 0
    for name, loss in losses.items():
        torch.testing.assert_close(loss, without[name])


def test_text_is_encoded_once_and_detection_reads_it_masked(images, monkeypatch):
    detector = detector_with(inter=True, mlm=True, mask_probability=1.0, mask_share=1.0)
    forward, seen = detector.language_model.model.forward, []
    monkeypatch.setattr(
        detector.language_model.model,
        'forward',
        lambda **kwargs: seen.append(kwargs['input_ids']) or forward(**kwargs),
    )
    losses = detector.loss(images, samples())
    (input_ids,) = seen
    # [CLS] cat . [MASK] [MASK] [SEP]: the cat is not in the image
    hidden = input_ids == detector.language_model.tokenizer.mask_id
    assert hidden[0].int().tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert hidden[1].int().tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    without = detector_with().loss(images, samples())
    assert losses['loss_cls'].item() != pytest.approx(without['loss_cls'].item(), rel=1e-6)


def test_equal_prompts_hide_words_of_their_own_image(images, monkeypatch):
    """The same class list twice, the cat in one image and the car in the other."""
    detector = detector_with(mlm=True, mask_probability=1.0, mask_share=1.0)
    names, box = ('cat', 'red car'), [[4, 6, 50, 58]]
    batch = [data_sample(names, boxes=box, labels=[0]), data_sample(names, boxes=box, labels=[1])]
    forward, seen = detector.language_model.forward, []
    monkeypatch.setattr(
        detector.language_model, 'forward', lambda tokens: seen.append(tokens.input_ids) or forward(tokens)
    )
    detector.loss(images, batch)
    hidden = seen[0] == detector.language_model.tokenizer.mask_id
    assert hidden.int().tolist() == [[0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]]


def test_images_without_boxes_hide_no_word_and_train(images):
    detector = detector_with(inter=True, mlm=True, mask_probability=1.0).train()
    losses = detector.loss(images, [data_sample(('cat', 'dog')), data_sample(('tree',))])
    assert losses['loss_mlm'].item() == 0 and losses['loss_inter'].item() == 0
    sum(losses.values()).backward()
    assert [name for name, parameter in detector.named_parameters() if parameter.grad is None] == []


def test_inter_image_loss_reads_features_before_fusion_and_mlm_those_after_it(images):
    detector = detector_with(inter=True, mlm=True, mask_probability=1.0, mask_share=1.0)
    before = detector.loss(images, samples())
    with torch.no_grad():
        for parameter in detector.fusion.parameters():
            parameter.mul_(1.5)
    after = detector.loss(images, samples())
    assert torch.equal(before['loss_inter'], after['loss_inter'])
    for name in ('loss_cls', 'loss_mlm'):
        assert not torch.equal(before[name], after[name])


def test_predictions_are_those_of_the_detector_without_losses(images):
    plain, trained = detector_with(), detector_with(inter=True, mlm=True)
    with torch.no_grad():
        results = [d.predict(images[:1], [data_sample(('cat', 'red car'))])[0].pred_instances for d in (plain, trained)]
    assert torch.equal(results[0].scores, results[1].scores)
