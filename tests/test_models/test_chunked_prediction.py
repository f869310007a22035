"""A long class list in several prompts: what each prompt alone finds, joined, and the picture encoded once."""

from __future__ import annotations

import pytest
import torch

from tests.test_models.nano import build_detector, build_mask_detector, data_sample

NAMES = (
    'cat',
    'red car',
    'dog',
    'tree',
    'old tall house',
    'bow_(weapon)',
    'bow_(decorative_ribbons)',
    'cup',
    'street',
    'traffic light',
    'man',
    'tiny bird',
)
CHUNK = 4


@pytest.fixture(scope='module')
def images() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(2, 3, 64, 64)


@torch.no_grad()
def predict(detector, images, *samples):
    return [sample.pred_instances for sample in detector.predict(images, list(samples))]


def assert_joined(merged, parts, names) -> None:
    """Every detection of every part is among the merged ones, with the score it has there, and no other is."""
    assert len(merged) == sum(map(len, parts)) > 20
    assert merged.scores.tolist() == sorted(merged.scores.tolist(), reverse=True)
    for part in parts:
        labels = torch.tensor([names.index(name) for name in part.label_names])
        for row in range(len(part)):
            same = (merged.labels == labels[row]).nonzero()[:, 0]
            distance = (merged.bboxes[same] - part.bboxes[row]).abs().amax(dim=1)
            place = same[distance.argmin()]
            assert distance.min() < 2e-3
            assert abs(float(merged.scores[place]) - float(part.scores[row])) < 1e-5
            assert merged.label_names[place] == part.label_names[row]
            if 'masks' in part:
                assert (merged.masks[place] != part.masks[row]).float().mean() < 1e-3


@pytest.mark.parametrize('build', [build_detector, build_mask_detector])
def test_chunks_of_four_are_the_results_of_four_names_alone(build, images, monkeypatch):
    detector = build(chunked_size=CHUNK, prompts_per_batch=4)
    calls = []
    encode = detector.backbone.forward
    monkeypatch.setattr(detector.backbone, 'forward', lambda x: calls.append(len(x)) or encode(x))
    lists = NAMES, NAMES[::-1][:10]
    both = predict(detector, images, *map(data_sample, lists))
    assert calls == [2]  # five prompts, every picture once
    for image, names in enumerate(lists):
        chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
        parts = [predict(detector, images[image : image + 1], data_sample(chunk))[0] for chunk in chunks]
        assert_joined(both[image], parts, names)
        # one picture with all its prompts is that picture in a batch
        assert_joined(both[image], predict(detector, images[image : image + 1], data_sample(names)), names)


def test_names_in_one_prompt_influence_each_other(images):
    """Why chunked figures are compared with chunked ones: words attend to each other in fusion."""
    whole, chunked, wide = (
        predict(build_detector(chunked_size=size), images[:1], data_sample(NAMES))[0] for size in (-1, CHUNK, 12)
    )
    assert torch.equal(whole.scores, wide.scores) and torch.equal(whole.bboxes, wide.bboxes)

    def best(found):
        return torch.stack([found.scores[found.labels == label].max() for label in range(len(NAMES))])

    assert (best(whole) - best(chunked)).abs().max() > 1e-4


def test_a_limit_per_prompt_leaves_each_prompt_its_best(images):
    detector = build_detector(chunked_size=CHUNK)
    (everything,) = predict(detector, images[:1], data_sample(NAMES))
    detector.test_cfg.update(max_per_prompt=7, max_per_img=-1)
    (found,) = predict(detector, images[:1], data_sample(NAMES))
    assert len(found) == 21
    for start in range(0, 12, CHUNK):
        of_prompt = (everything.labels >= start) & (everything.labels < start + CHUNK)
        kept = (found.labels >= start) & (found.labels < start + CHUNK)
        torch.testing.assert_close(found.scores[kept], everything.scores[of_prompt][:7])
    detector.test_cfg.update(max_per_img=5)
    (few,) = predict(detector, images[:1], data_sample(NAMES))
    torch.testing.assert_close(few.scores, found.scores[:5])
