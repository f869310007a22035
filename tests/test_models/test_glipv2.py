"""The whole detector at nano size: prompts in, boxes out, and the cases peers get wrong."""

from __future__ import annotations

import math

import pytest
import torch

from glipv2_mmdet.models.detectors.tuned_prompts import prompt_and_chunks
from glipv2_mmdet.text import PromptError
from tests.test_models.nano import build_detector, data_sample

WORDS = ('red', 'small', 'round', 'wooden', 'shiny', 'broken', 'empty', 'heavy', 'quiet', 'old')
THINGS = ('table', 'bicycle', 'garden', 'bottle', 'window', 'camera', 'basket', 'ladder', 'pillow', 'carpet')
#: 100 names, over 256 tokens.
MANY = tuple(f'{word} {thing}' for word in WORDS for thing in THINGS)


@pytest.fixture(scope='module')
def detector():
    return build_detector()


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(2, 3, 64, 64)


@torch.no_grad()
def predict(detector, images: torch.Tensor, *samples) -> list:
    return [sample.pred_instances for sample in detector.predict(images, list(samples))]


def assert_same_detections(one, other) -> None:
    """Equal up to rounding, whatever the order: rounding may swap neighbours in score."""
    assert len(one) == len(other)
    for a, b in zip(sorted_rows(one), sorted_rows(other), strict=True):
        assert a == pytest.approx(b, abs=2e-3)


def sorted_rows(instances) -> list[list[float]]:
    rows = torch.cat((instances.labels[:, None].float(), instances.bboxes, instances.scores[:, None]), dim=1)
    return sorted(rows.tolist(), key=by_place)


def by_place(row: list[float]) -> list[float]:
    return [round(row[0]), *(round(side, 1) for side in row[1:4])]


def test_loss_is_finite_and_reaches_every_parameter():
    detector = build_detector().train()
    samples = [
        data_sample(('cat', 'red car'), boxes=[[4, 6, 50, 58]], labels=[1]),
        data_sample(('tree',), boxes=[[10, 10, 40, 30], [2, 2, 60, 60]], labels=[0, 0]),
    ]
    losses = detector.loss(torch.randn(2, 3, 64, 64), samples)
    assert sorted(losses) == ['loss_bbox', 'loss_centerness', 'loss_cls']
    assert all(math.isfinite(loss.item()) for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, parameter in detector.named_parameters() if parameter.grad is None] == []


def test_image_without_boxes_trains():
    detector = build_detector().train()
    losses = detector.loss(torch.randn(1, 3, 64, 64), [data_sample(('cat', 'dog'))])
    assert float(losses['loss_bbox']) == 0 and math.isfinite(losses['loss_cls'].item())
    sum(losses.values()).backward()
    assert [name for name, parameter in detector.named_parameters() if parameter.grad is None] == []


def test_batch_loss_is_that_of_the_images_in_any_order(detector, images):
    samples = [
        data_sample(('cat', 'red car'), boxes=[[4, 6, 50, 58]], labels=[1]),
        data_sample(('tree', 'old tall tree', 'sky'), boxes=[[10, 10, 40, 30]], labels=[2]),
    ]
    with torch.no_grad():
        losses = detector.loss(images, samples)
        swapped = detector.loss(images.flip(0), samples[::-1])
    for name, loss in losses.items():
        assert float(loss) == pytest.approx(float(swapped[name]), rel=1e-4)


def test_names_of_detections_are_those_of_the_prompt(detector, images):
    first, second = predict(
        detector, images, data_sample(('cat', 'red car')), data_sample('a dog . a tree', custom_entities=True)
    )
    for found, names in ((first, ('cat', 'red car')), (second, ('a dog', 'a tree'))):
        assert len(found) > 0
        assert found.label_names == [names[label] for label in found.labels.tolist()]
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_batched_equals_single(detector, images):
    samples = [
        data_sample(('cat', 'red car')),
        data_sample('a dog near two old trees', tokens_positive=[[[0, 5]]]),
    ]
    batched = predict(detector, images, *samples)
    for i in range(2):
        (single,) = predict(detector, images[i : i + 1], samples[i].new())
        assert_same_detections(batched[i], single)


def test_rescale_divides_by_the_scale_factor(detector, images):
    sample = data_sample(('cat',))
    (plain,) = predict(detector, images[:1], sample)
    sample.set_metainfo(dict(scale_factor=(2.0, 4.0)))
    (halved,) = predict(detector, images[:1], sample)
    # the last pixel is added after scaling
    expected = (plain.bboxes - torch.tensor([0, 0, 1, 1])) / torch.tensor([2, 4, 2, 4]) + torch.tensor([0, 0, 1, 1])
    torch.testing.assert_close(halved.bboxes, expected)
    with torch.no_grad():
        kept = detector.predict(images[:1], [sample], rescale=False)[0].pred_instances
    torch.testing.assert_close(kept.bboxes, plain.bboxes)


def test_boxes_stay_inside_the_image_without_its_padding(detector, images):
    (found,) = predict(detector, images[:1], data_sample(('cat',), height=40, width=52))
    assert found.bboxes.min() >= 0
    assert found.bboxes[:, 2].max() <= 52 and found.bboxes[:, 3].max() <= 40


def chunks_of(detector, names) -> list[list[str]]:
    return [list(chunk.prompt.names) for chunk in prompt_and_chunks(detector, data_sample(names), None)[1]]


def test_long_class_lists_are_split_per_image_and_merged(detector, images):
    lists = MANY, MANY[::-1][:95] + ('zebra',)
    assert all(len(chunks_of(detector, names)) >= 2 for names in lists)
    both = predict(detector, images, *(data_sample(names) for names in lists))
    for i, names in enumerate(lists):
        assert set(both[i].labels.tolist()) <= set(range(len(names)))
        rows = []
        for chunk in chunks_of(detector, names):
            (part,) = predict(detector, images[i : i + 1], data_sample(chunk))
            rows += [
                [names.index(name), *box, score]
                for name, box, score in zip(part.label_names, part.bboxes.tolist(), part.scores.tolist(), strict=True)
            ]
        assert {row[0] for row in rows} == set(both[i].labels.tolist())
        # classes of every chunk are found
        assert min(row[0] for row in rows) < 10 and max(row[0] for row in rows) >= len(names) - 10
        assert len(both[i]) == len(rows)
        for merged, alone in zip(sorted_rows(both[i]), sorted(rows, key=by_place), strict=True):
            assert merged == pytest.approx(alone, abs=2e-3)


def test_chunked_size_limits_the_names_of_a_prompt():
    detector = build_detector(chunked_size=3)
    assert chunks_of(detector, MANY[:7]) == [list(MANY[:3]), list(MANY[3:6]), list(MANY[6:7])]


def test_image_is_encoded_once_whatever_the_number_of_prompts(images, monkeypatch):
    detector = build_detector(chunked_size=2, prompts_per_batch=3)
    calls = {'backbone': [], 'fusion': []}
    for part in calls:
        module = getattr(detector, part)
        forward = module.forward

        def counted(x, *args, forward=forward, part=part):
            calls[part].append(len(x) if part == 'backbone' else len(x[0]))
            return forward(x, *args)

        monkeypatch.setattr(module, 'forward', counted)
    predict(detector, images, data_sample(MANY[:7]), data_sample(MANY[:5]))
    assert calls['backbone'] == [2]
    # 4 + 3 prompts, three at a time
    assert calls['fusion'] == [3, 3, 1]


def test_raw_forward_gives_outputs_of_one_prompt_per_image(detector, images):
    with torch.no_grad():
        outputs = detector(images, [data_sample(('cat',)), data_sample(('red car', 'dog'))], mode='tensor')
    # [CLS] red car . dog [SEP]
    assert outputs.word_logits.shape == (2, 64 + 16 + 4 + 1 + 1, 6)


@pytest.mark.parametrize('mode', ['loss', 'predict', 'tensor'])
def test_image_without_a_prompt_says_how_to_give_one(detector, images, mode):
    with pytest.raises(PromptError, match=r'without one\. Pass text_prompt='):
        detector(images[:1], [data_sample()], mode=mode)


@pytest.mark.parametrize('label', [2, 7])
def test_label_outside_the_prompt_is_named(detector, images, label):
    sample = data_sample(('cat', 'dog'), boxes=[[4, 6, 50, 58]], labels=[label])
    with pytest.raises(PromptError, match=f'Label {label} of image "photo.jpg" is not in its prompt, which has 2 '):
        detector.loss(images[:1], [sample])


def test_negative_label_is_named(detector, images):
    sample = data_sample(('cat', 'dog'), boxes=[[4, 6, 50, 58]], labels=[-1])
    with pytest.raises(PromptError, match='Label -1 of image'):
        detector.loss(images[:1], [sample])
