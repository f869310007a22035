"""L_inter by its formula, what enters it, and the empty cases. Two processes: tests/distributed."""

from __future__ import annotations

import math

import pytest
import torch

from glipv2_mmdet.models.layers.levels import join_levels
from glipv2_mmdet.models.losses import InterImageContrast
from glipv2_mmdet.models.losses.inter_image_contrast import multi_positive_cross_entropy
from glipv2_mmdet.models.losses.label_propagation import RegionWordLabels
from glipv2_mmdet.structures import GroundingTargets
from glipv2_mmdet.text import PromptTokenizer, prompt_from_classes
from tests.reference.losses import plain_contrast
from tests.test_models.nano import CHANNELS, TEXT_CHANNELS, pyramid, text_features

TOKENIZER = PromptTokenizer()
PROMPTS = [TOKENIZER(prompt_from_classes(names)) for names in (['cat', 'red car'], ['dog', 'cat'])]
LENGTHS = tuple(len(prompt.input_ids) for prompt in PROMPTS)
#: Per image, the phrase of each box.
BOX_LABELS = [[0, 1], [0]]


@pytest.fixture
def loss() -> InterImageContrast:
    torch.manual_seed(0)
    return InterImageContrast(CHANNELS, TEXT_CHANNELS, init_log_scale=-1.0)


def targets_of(anchors: list[list[int]], boxes: list[list[int]], labels=BOX_LABELS, num_anchors=101, prompts=PROMPTS):
    """Per image, the positive anchors and the box each answers for."""
    num_words = max(len(prompt.input_ids) for prompt in prompts)
    word_targets = torch.zeros(len(anchors), num_anchors, num_words)
    for image, (ids, box_ids) in enumerate(zip(anchors, boxes, strict=True)):
        for anchor, box in zip(ids, box_ids, strict=True):
            word_targets[image, anchor, list(prompts[image].phrase_tokens[labels[image][box]])] = 1
    counts = tuple(len(ids) for ids in anchors)
    places = [anchor + image * num_anchors for image, ids in enumerate(anchors) for anchor in ids]
    box_ids = [box for image_boxes in boxes for box in image_boxes]
    return GroundingTargets(
        word_targets=word_targets,
        positive=torch.tensor(places, dtype=torch.long),
        boxes=torch.zeros(len(places), 4),
        anchors=torch.zeros(len(places), 4),
        box_ids=torch.tensor(box_ids, dtype=torch.long),
        num_positive=counts,
        num_assigned=counts,
        assigned=(),
    )


def test_multi_positive_cross_entropy_on_paper():
    """Equal logits over four words: ln 4 per row, however many are positive; a row without positives costs nothing."""
    positive = torch.tensor([[True, False, False, False], [True, True, False, True], [False] * 4])
    assert float(multi_positive_cross_entropy(torch.zeros(3, 4), positive)) == pytest.approx(2 * math.log(4))


def test_equals_the_formula(loss):
    """Two images: 3 regions and 11 words written out, both directions, half of the sum over the number of positives."""
    levels, text = pyramid(), text_features(LENGTHS)
    targets = targets_of([[5, 80], [40]], [[0, 1], [0]])
    total = loss(levels, text, targets, PROMPTS, BOX_LABELS)

    features = join_levels(levels)
    regions = loss.region_projection(torch.stack((features[0, 5], features[0, 80], features[1, 40])))
    words = loss.word_projection(torch.cat((text.embedded[0, : LENGTHS[0]], text.embedded[1, : LENGTHS[1]])))
    cosine = torch.cosine_similarity(regions[:, None], words[None], dim=-1) * math.e
    # [CLS] cat . red car [SEP] [CLS] dog . cat [SEP]: the cat of image 0 is also what image 1 asks for
    positive = [[0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 0] + [0] * 5, [0] * 7 + [1, 0, 0, 0]]
    columns = [list(column) for column in zip(*positive, strict=True)]
    expected = plain_contrast(cosine.tolist(), positive) + plain_contrast(cosine.T.tolist(), columns)
    assert total.item() == pytest.approx(expected / 2 / 3, rel=1e-5)


def test_swapping_the_images_changes_nothing(loss):
    levels, text = pyramid(), text_features(LENGTHS)
    targets = targets_of([[5, 80, 81], [40]], [[0, 1, 1], [0]])
    swapped = targets_of([[40], [5, 80, 81]], [[0], [0, 1, 1]], BOX_LABELS[::-1], prompts=PROMPTS[::-1])
    total = loss(levels, text, targets, PROMPTS, BOX_LABELS)
    other = loss([level.flip(0) for level in levels], text.select([1, 0]), swapped, PROMPTS[::-1], BOX_LABELS[::-1])
    torch.testing.assert_close(total, other)


def test_words_are_those_before_fusion_and_padding_is_never_read(loss):
    levels, text = pyramid(), text_features(LENGTHS)
    targets = targets_of([[5], [40]], [[0], [0]])
    total = loss(levels, text, targets, PROMPTS, BOX_LABELS)
    fused = text.with_hidden(text.hidden + 1)
    poisoned = text.embedded.masked_fill(~text.mask.unsqueeze(-1), float('nan'))
    for other in (fused, type(text)(text.hidden, poisoned, text.mask, text.lengths)):
        assert torch.equal(loss(levels, other, targets, PROMPTS, BOX_LABELS), total)


def test_at_most_max_regions_of_each_image_take_part_but_all_count(loss, monkeypatch):
    anchors = [list(range(60)), list(range(7))]
    targets = targets_of(anchors, [[0] * 60, [0] * 7])
    seen = {}

    def contrast(regions, words, labels, num_positive):
        seen.update(regions=len(regions), images=labels.same_image[:, 0].sum(), num_positive=num_positive)
        return regions.sum()

    monkeypatch.setattr(loss, 'contrast', contrast)
    loss.max_regions = 20
    loss(pyramid(), text_features(LENGTHS), targets, PROMPTS, BOX_LABELS)
    assert seen == dict(regions=27, images=20, num_positive=67)


def test_sampled_regions_keep_their_own_labels(loss, monkeypatch):
    """Anchors of both boxes in turn: whatever is drawn, a region's category and its annotated words agree."""
    targets = targets_of([list(range(40)), [3]], [[0, 1] * 20, [0]])
    loss.max_regions = 5
    seen: list[RegionWordLabels] = []
    monkeypatch.setattr(loss, 'contrast', lambda regions, words, labels, num_positive: seen.append(labels))
    loss(pyramid(), text_features(LENGTHS), targets, PROMPTS, BOX_LABELS)
    (labels,) = seen
    assert len(labels.region_categories) == 5 + 1
    for category, words in zip(labels.region_categories.tolist(), labels.annotated, strict=True):
        assert set(labels.word_categories[words].tolist()) == {category}


def test_no_positive_anchor_is_exactly_zero_and_every_parameter_gets_a_gradient(loss):
    targets = targets_of([[], []], [[], []])
    total = loss(pyramid(), text_features(LENGTHS), targets, PROMPTS, BOX_LABELS)
    assert total.item() == 0
    total.backward()
    assert [float(parameter.grad.abs().max()) for parameter in loss.parameters()] == [0.0] * 5


def test_loss_weight_is_a_factor(loss):
    inputs = pyramid(), text_features(LENGTHS), targets_of([[5], [40]], [[0], [0]]), PROMPTS, BOX_LABELS
    total = loss(*inputs)
    loss.loss_weight = 0.25
    torch.testing.assert_close(loss(*inputs), total / 4)


def test_half_precision_features_are_compared_in_full_precision(loss):
    inputs = pyramid(), text_features(LENGTHS), targets_of([[5], [40]], [[0], [0]]), PROMPTS, BOX_LABELS
    with torch.autocast('cpu', dtype=torch.bfloat16):
        total = loss(*inputs)
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(loss(*inputs).item(), rel=0.02)
