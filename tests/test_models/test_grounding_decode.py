"""Scores, best candidates and suppression with numbers a person can check."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmengine.config import ConfigDict

from glipv2_mmdet.models.dense_heads import grounding_decode
from glipv2_mmdet.models.dense_heads.grounding_atss_head import BOX_CODER
from glipv2_mmdet.models.dense_heads.grounding_decode import select_candidates, suppress, suppress_prompts
from glipv2_mmdet.structures import Candidates, GroundingOutputs

# two levels: two anchors of 16 pixels, one of 32
ANCHORS = torch.tensor([[0.0, 0.0, 16.0, 16.0], [16.0, 0.0, 32.0, 16.0], [0.0, 0.0, 32.0, 32.0]])
PROBS = torch.tensor([[0.8, 0.4, 0.2], [0.1, 0.3, 0.9], [0.6, 0.6, 0.05]])
CENTERNESS = torch.tensor([0.5, 0.25, 1 - 1e-6])


def outputs(deltas: torch.Tensor | None = None) -> GroundingOutputs:
    """Image 1 carries the numbers above, image 0 must not be read."""
    nothing = torch.full((1, 3, 3), -20.0)
    return GroundingOutputs(
        word_logits=torch.cat((nothing, PROBS.logit()[None])),
        box_deltas=torch.cat((torch.zeros(1, 3, 4), torch.zeros(1, 3, 4) if deltas is None else deltas[None])),
        centerness=torch.stack((torch.zeros(3), CENTERNESS.logit())),
        level_shapes=((1, 2), (1, 1)),
    )


def select(phrase_map: list[list[int]], deltas=None, image_shape=(32, 32), **cfg) -> Candidates:
    cfg = ConfigDict({**dict(score_thr=0.05, nms_pre=100), **cfg})
    return select_candidates(
        outputs(deltas),
        1,
        ANCHORS,
        torch.tensor(phrase_map, dtype=torch.bool),
        image_shape,
        TASK_UTILS.build(BOX_CODER),
        cfg,
    )


def as_dict(candidates: Candidates) -> dict[tuple[int, int], float]:
    return {
        (int(anchor), int(phrase)): float(score)
        for anchor, phrase, score in zip(candidates.anchors, candidates.phrases, candidates.scores, strict=True)
    }


def test_phrase_score_is_the_mean_of_its_words_times_centerness_under_a_root():
    found = as_dict(select([[1, 1, 0], [0, 0, 1]]))
    expected = {(0, 0): 0.6 * 0.5, (0, 1): 0.2 * 0.5, (1, 0): 0.2 * 0.25, (1, 1): 0.9 * 0.25, (2, 0): 0.6}
    # anchor 2, phrase 1 has 0.05: not above the threshold by float rounding or not, so it is left open
    found.pop((2, 1), None)
    assert found == pytest.approx({pair: score**0.5 for pair, score in expected.items()}, rel=1e-4)


def test_threshold_acts_before_centerness():
    found = as_dict(select([[1, 0, 0]], score_thr=0.5))
    # 0.8 * 0.5 = 0.4 is below the threshold, and stays
    assert found == pytest.approx({(0, 0): 0.4**0.5, (2, 0): 0.6**0.5}, rel=1e-4)


def test_every_level_keeps_its_best_pairs():
    found = as_dict(select([[1, 1, 0], [0, 0, 1]], nms_pre=1))
    assert sorted(found) == [(1, 1), (2, 0)]


def test_phrase_without_words_never_scores():
    found = as_dict(select([[0, 0, 0], [1, 0, 0]], score_thr=0.0))
    assert {phrase for _, phrase in found} == {1}


def test_permuting_phrases_permutes_results():
    one, other = as_dict(select([[1, 1, 0], [0, 0, 1]])), as_dict(select([[0, 0, 1], [1, 1, 0]]))
    assert {(anchor, 1 - phrase): score for (anchor, phrase), score in other.items()} == one


def test_zero_deltas_give_the_anchors_last_pixels_inside_the_image():
    candidates = select([[1, 1, 1]], image_shape=(20, 26))
    boxes = dict(zip(candidates.anchors.tolist(), candidates.boxes.tolist(), strict=True))
    assert boxes == {0: [0, 0, 15, 15], 1: [16, 0, 25, 15], 2: [0, 0, 25, 19]}


def test_deltas_move_the_box_of_their_own_anchor():
    deltas = torch.zeros(3, 4)
    deltas[1] = torch.tensor([-10.0, 5.0, 0.0, 0.0])  # one width to the left, half a height down
    candidates = select([[1, 1, 1]], deltas)
    boxes = dict(zip(candidates.anchors.tolist(), candidates.boxes.tolist(), strict=True))
    assert boxes[1] == pytest.approx([0, 8, 15, 23], abs=1e-4)
    assert boxes[0] == [0, 0, 15, 15]


def candidates(boxes, scores, phrases) -> Candidates:
    return Candidates(
        boxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        scores=torch.tensor(scores),
        phrases=torch.tensor(phrases, dtype=torch.long),
        anchors=torch.arange(len(scores)),
    )


CFG = ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=10, min_bbox_size=0)
OVERLAPPING = candidates(
    [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 9, 10], [20, 20, 30, 40]], [0.5, 0.9, 0.7, 0.8], [0, 0, 1, 0]
)


def test_suppression_is_per_phrase_and_best_first():
    results = suppress(OVERLAPPING, None, CFG)
    assert results.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert results.labels.tolist() == [0, 0, 1]
    # one pixel comes back onto the right and the bottom
    assert results.bboxes.tolist() == [[0, 0, 11, 10], [20, 20, 31, 41], [0, 0, 10, 11]]


def test_max_per_img_keeps_the_best():
    assert suppress(OVERLAPPING, None, ConfigDict(CFG, max_per_img=2)).scores.tolist() == pytest.approx([0.9, 0.8])
    assert len(suppress(OVERLAPPING, None, ConfigDict(CFG, max_per_img=-1))) == 3


def test_the_pixel_is_added_in_original_pixels():
    results = suppress(candidates([[8, 4, 16, 12]], [0.5], [0]), (4.0, 2.0), CFG)
    assert results.bboxes.tolist() == [[2, 2, 5, 7]]


def test_small_boxes_are_dropped_in_original_pixels():
    flat = candidates([[0, 0, 10, 4], [0, 20, 10, 30]], [0.5, 0.4], [0, 0])
    assert len(suppress(flat, None, ConfigDict(CFG, min_bbox_size=3))) == 2
    assert suppress(flat, (1.0, 2.0), ConfigDict(CFG, min_bbox_size=3)).scores.tolist() == pytest.approx([0.4])


def test_nothing_in_nothing_out():
    results = suppress(candidates([], [], []), (2.0, 2.0), CFG)
    assert results.bboxes.shape == (0, 4) and results.scores.shape == results.labels.shape == (0,)


def both_prompts(**cfg):
    first = candidates([[0, 0, 9, 9], [0, 0, 19, 19]], [0.1, 0.2], [1, 0])
    second = candidates([[0, 0, 19, 19], [0, 0, 39, 39]], [0.3, 0.15], [1, 0])
    cfg = ConfigDict({**dict(nms=dict(type='nms', iou_threshold=0.6)), **cfg})
    return suppress_prompts([first, second], [(0, 1), (2, 3)], None, cfg)


def test_detections_of_prompts_get_places_of_the_full_list_best_first():
    found = both_prompts()
    assert found.labels.tolist() == [3, 0, 2, 1]
    assert found.scores.tolist() == pytest.approx([0.3, 0.2, 0.15, 0.1])
    assert found.bboxes[:, 3].tolist() == [20, 20, 40, 10]


def test_limits_of_a_prompt_and_of_the_picture():
    assert both_prompts(max_per_prompt=1).labels.tolist() == [3, 0]
    assert both_prompts(max_per_img=3).labels.tolist() == [3, 0, 2]
    assert both_prompts(max_per_prompt=2, max_per_img=3).labels.tolist() == [3, 0, 2]
    assert both_prompts(max_per_prompt=1, max_per_img=-1).labels.tolist() == [3, 0]


def test_suppression_does_not_depend_on_the_place_in_the_list():
    # IoU of these is a little below and a little above the threshold; shifted by 1,202 * 1,333 pixels they are not
    boxes = [[0.0, 0.0, 100.0, 10.0], [0.0, 0.0, 59.98, 10.0], [1300.0, 0.0, 1332.0, 60.0]]
    low, high = (
        suppress_prompts(
            [candidates(boxes, [0.9, 0.8, 0.7], [0, 0, 0])],
            [(place,)],
            None,
            ConfigDict(nms=dict(type='nms', iou_threshold=0.6)),
        ).bboxes
        for place in (0, 1202)
    )
    assert len(low) == 3 and torch.equal(low, high)


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(grounding_decode, 'warn_not_finite', said.append)
    return said


@pytest.mark.parametrize('cfg', [dict(), dict(min_bbox_size=0)])
def test_what_is_no_number_is_left_out_and_not_sorted_first(warnings, cfg):
    nan = float('nan')
    found = suppress(
        candidates(
            [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, nan, 70, 10]], [0.5, nan, 0.9, 0.7], [0, 0, 1, 1]
        ),
        None,
        ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=10, **cfg),
    )
    assert found.scores.tolist() == pytest.approx([0.9, 0.5]) and found.labels.tolist() == [1, 0]
    assert warnings == []  # something was found


def test_a_model_whose_numbers_are_none_says_so(warnings, monkeypatch):
    nothing = suppress(candidates([[0, 0, 10, 10]], [float('nan')], [0]), None, CFG)
    assert len(nothing) == 0 and warnings == ['boxes or their centerness']
    monkeypatch.setattr(f'{__name__}.PROBS', PROBS * float('nan'))
    assert len(select([[1, 1, 0]]).scores) == 0
    assert warnings[1:] == ['region-word scores']


def test_an_image_without_detections_is_no_reason_to_warn(warnings):
    assert len(select([[1, 1, 0]], score_thr=0.99).scores) == 0
    suppress(candidates([[0, 0, 0, 0]], [0.5], [0]), None, CFG)
    assert warnings == []
