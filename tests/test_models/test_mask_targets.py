"""Targets of the mask head: which boxes learn, from which object, and what they should see."""

from __future__ import annotations

import numpy as np
import torch
from mmdet.structures.mask import BitmapMasks

from glipv2_mmdet.models.mask_heads.mask_targets import assign_mask_targets

NO_BOXES = torch.zeros(0, 4)
# inclusive boxes, as GLIP's pipelines make them: the edges are one pixel further
GT = torch.tensor([[0.0, 0.0, 7.0, 7.0], [20.0, 10.0, 29.0, 19.0]])
WORDS = torch.tensor([[True, False, True], [False, True, False]])


def bitmaps(*windows, size=(24, 32)) -> BitmapMasks:
    masks = np.zeros((len(windows), *size), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, windows, strict=True):
        mask[y1:y2, x1:x2] = 1
    return BitmapMasks(masks, *size)


MASKS = bitmaps((0, 0, 4, 8), (20, 10, 30, 20))  # left half of the first box, all of the second


def assign(proposals, boxes, masks, words, max_boxes=10):
    return assign_mask_targets(proposals, boxes, masks, words, mask_size=4, max_boxes=max_boxes, min_overlap=0.5)


def test_ground_truth_boxes_learn_their_own_masks():
    targets = assign([NO_BOXES], [GT], [MASKS], [WORDS])
    assert targets.boxes[0].tolist() == [[0, 0, 8, 8], [20, 10, 30, 20]]
    assert torch.equal(targets.word_maps[0], WORDS)
    assert targets.masks[0].tolist() == [[1, 1, 0, 0]] * 4
    assert targets.masks[1].tolist() == [[1, 1, 1, 1]] * 4


def test_a_predicted_box_learns_the_object_it_overlaps_and_others_do_not():
    proposals = torch.tensor([[20.0, 10.0, 30.0, 22.0], [0.0, 0.0, 3.0, 8.0], [12.0, 0.0, 18.0, 8.0]])
    targets = assign([proposals], [GT], [MASKS], [WORDS])
    # the second is only 3/8 of its object, the third meets none
    assert targets.boxes[0].tolist() == [[0, 0, 8, 8], [20, 10, 30, 20], [20, 10, 30, 22]]
    assert targets.word_maps[0][2].tolist() == [False, True, False]
    assert targets.masks[2].tolist() == [[1, 1, 1, 1]] * 3 + [[0, 0, 0, 0]]


def test_objects_with_an_empty_mask_or_without_words_teach_nothing():
    masks = bitmaps((0, 0, 0, 0), (20, 10, 30, 20), (0, 0, 8, 8))
    boxes = torch.cat((GT, GT[:1]))
    words = torch.cat((WORDS, torch.zeros(1, 3, dtype=torch.bool)))
    targets = assign([GT], [boxes], [masks], [words])
    assert all(box[0] == 20 for box in targets.boxes[0].tolist())
    assert torch.equal(targets.word_maps[0].unique(dim=0), WORDS[1:])


def test_images_are_joined_in_order_and_may_be_empty():
    nothing = BitmapMasks([], 24, 32)
    targets = assign(
        [NO_BOXES, GT, NO_BOXES], [NO_BOXES, NO_BOXES, GT], [nothing, nothing, MASKS], [WORDS[:0], WORDS[:0], WORDS]
    )
    assert [len(boxes) for boxes in targets.boxes] == [0, 0, 2]
    assert targets.masks.shape == (2, 4, 4)
    assert [words.shape for words in targets.word_maps] == [(0, 3), (0, 3), (2, 3)]


def test_no_image_with_boxes_gives_empty_targets_of_the_right_shape():
    targets = assign([GT], [NO_BOXES], [BitmapMasks([], 24, 32)], [WORDS[:0]])
    assert targets.masks.shape == (0, 4, 4) and targets.boxes[0].shape == (0, 4)


def test_no_more_than_max_boxes_per_image():
    torch.manual_seed(0)
    proposals = torch.tensor([[20.0, 10.0, 30.0, 20.0]]).repeat(30, 1)
    targets = assign([proposals, NO_BOXES], [GT, GT], [MASKS, MASKS], [WORDS, WORDS], max_boxes=7)
    assert [len(boxes) for boxes in targets.boxes] == [7, 2]
    assert targets.masks.shape == (9, 4, 4)


def test_boxes_past_the_picture_are_cut_and_inputs_stay_as_they_are():
    boxes = torch.tensor([[28.0, 20.0, 32.0, 24.0]])
    given = boxes.clone()
    targets = assign([NO_BOXES], [boxes], [bitmaps((28, 20, 32, 24))], [WORDS[:1]])
    assert targets.boxes[0].tolist() == [[28, 20, 32, 24]]
    assert targets.masks.all() and torch.equal(boxes, given)
