"""Anchors to boxes to words: spelled out by brute force, and on a page-sized example."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from mmdet.registry import TASK_UTILS

from glipv2_mmdet.models.dense_heads.grounding_atss_head import ANCHORS, ASSIGNER
from glipv2_mmdet.models.dense_heads.grounding_targets import assign_targets

FOUR_ANCHORS = torch.tensor(
    [[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 8.0], [0.0, 8.0, 8.0, 16.0], [8.0, 8.0, 16.0, 16.0]]
)


class FixedAssigner:
    """Answers with given ground-truth numbers (0: background, 1: first box) and remembers what it was
    asked."""

    def __init__(self, *answers: list[int]) -> None:
        self.answers = list(answers)
        self.asked = []

    def assign(self, pred_instances, num_level_priors, gt_instances) -> SimpleNamespace:
        self.asked.append((pred_instances.priors, num_level_priors, gt_instances.bboxes))
        return SimpleNamespace(gt_inds=torch.tensor(self.answers[len(self.asked) - 1]))


def test_words_boxes_and_anchors_of_the_assigned():
    boxes = [
        torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 16.0, 16.0]]),
        torch.tensor([[8.0, 8.0, 15.0, 15.0]]),
    ]
    maps = [torch.tensor([[False, True, True], [True, False, False]]), torch.tensor([[False, False, True]])]
    assigner = FixedAssigner([2, 0, 1, 2], [0, 0, 0, 1])
    targets = assign_targets(assigner, FOUR_ANCHORS, (3, 1), boxes, maps)

    assert targets.word_targets.tolist() == [
        [[1, 0, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]],
    ]
    assert targets.positive.tolist() == [0, 2, 3, 7]
    assert torch.equal(targets.boxes, torch.stack([boxes[0][1], boxes[0][0], boxes[0][1], boxes[1][0]]))
    # the last pixel of an anchor, not the edge behind it
    assert targets.anchors.tolist() == [[0, 0, 7, 7], [0, 8, 7, 15], [8, 8, 15, 15], [8, 8, 15, 15]]
    assert targets.num_assigned == (3, 1)
    assert [[ids.tolist() for ids in pair] for pair in targets.assigned] == [
        [[0, 2, 3], [1, 0, 1]],
        [[3], [0]],
    ]

    priors, num_level_priors, _ = assigner.asked[0]
    assert priors.tolist() == [[0, 0, 7, 7], [8, 0, 15, 7], [0, 8, 7, 15], [8, 8, 15, 15]]
    assert num_level_priors == [3, 1]


def test_a_box_without_words_counts_but_is_no_positive():
    boxes = [torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 16.0, 16.0]])]
    maps = [torch.tensor([[False, False], [False, True]])]
    targets = assign_targets(FixedAssigner([1, 0, 1, 2]), FOUR_ANCHORS, (4,), boxes, maps)
    assert targets.num_assigned == (3,)
    assert targets.positive.tolist() == [3]
    assert targets.word_targets.tolist() == [[[0, 0], [0, 0], [0, 0], [0, 1]]]


def real_assignment(boxes: list[torch.Tensor], maps: list[torch.Tensor]):
    generator = TASK_UTILS.build(ANCHORS)
    shapes = [(8, 10), (4, 5), (2, 3), (1, 2), (1, 1)]
    anchors = torch.cat(generator.grid_priors(shapes, device='cpu'))
    sizes = tuple(height * width for height, width in shapes)
    return anchors, assign_targets(TASK_UTILS.build(ASSIGNER), anchors, sizes, boxes, maps)


def test_brute_force_word_targets_with_atss():
    boxes = [
        torch.tensor([[4.0, 6.0, 60.0, 58.0], [30.0, 8.0, 76.0, 62.0]]),
        torch.tensor([[10.0, 10.0, 40.0, 30.0]]),
    ]
    maps = [
        torch.tensor([[False, True, False, True], [False, False, True, False]]),
        torch.tensor([[False, True, True, False]]),
    ]
    anchors, targets = real_assignment(boxes, maps)
    assert all(count > 0 for count in targets.num_assigned)
    row = 0
    for image, (anchor_ids, box_ids) in enumerate(targets.assigned):
        box_of = dict(zip(anchor_ids.tolist(), box_ids.tolist(), strict=True))
        assert list(box_of) == sorted(box_of)
        for anchor in range(len(anchors)):
            for word in range(4):
                expected = anchor in box_of and bool(maps[image][box_of[anchor], word])
                assert targets.word_targets[image, anchor, word] == expected
            if anchor in box_of:
                box = boxes[image][box_of[anchor]]
                x, y = (anchors[anchor, :2] + anchors[anchor, 2:] - 1) / 2
                assert box[0] < x < box[2] and box[1] < y < box[3]
                assert targets.positive[row] == image * len(anchors) + anchor
                assert torch.equal(targets.boxes[row], box)
                row += 1
    assert row == len(targets.positive)


def test_permuting_boxes_permutes_nothing_but_their_numbers():
    boxes = torch.tensor([[4.0, 6.0, 60.0, 58.0], [30.0, 8.0, 76.0, 62.0], [2.0, 40.0, 20.0, 63.0]])
    maps = torch.eye(3, dtype=torch.bool)
    order = torch.tensor([2, 0, 1])
    _, one = real_assignment([boxes], [maps])
    _, other = real_assignment([boxes[order]], [maps[order]])
    assert torch.equal(one.word_targets, other.word_targets)
    assert torch.equal(one.boxes, other.boxes)
    assert torch.equal(one.assigned[0][1], order[other.assigned[0][1]])


def test_no_boxes():
    _, targets = real_assignment([torch.zeros(0, 4)] * 2, [torch.zeros(0, 3, dtype=torch.bool)] * 2)
    assert targets.word_targets.shape == (2, 80 + 20 + 6 + 2 + 1, 3) and targets.word_targets.sum() == 0
    assert targets.positive.shape == (0,) and targets.boxes.shape == targets.anchors.shape == (0, 4)
    assert targets.num_assigned == (0, 0)
