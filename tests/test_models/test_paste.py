"""Pasting: masks land where their boxes are, at the threshold; bitmaps and run lengths are the same masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from glipv2_mmdet.models.mask_heads.paste import paste_bitmaps, paste_rles

BOXES = torch.tensor([[2.0, 3.0, 6.0, 5.0], [0.0, 0.0, 8.0, 8.0], [6.5, 6.0, 10.0, 9.0]])


def test_a_full_map_covers_the_pixels_whose_centre_is_in_the_box():
    masks = paste_bitmaps(torch.ones(3, 28, 28), BOXES, (9, 10), 0.5)
    assert masks.dtype == torch.bool and masks.shape == (3, 9, 10)
    expected = torch.zeros(3, 9, 10, dtype=torch.bool)
    expected[0, 3:5, 2:6] = True
    expected[1, :8, :8] = True
    expected[2, 6:9, 6:10] = True  # half of column 6 is covered: its centre is on the edge
    assert torch.equal(masks, expected)


def test_the_left_half_of_a_map_is_the_left_half_of_the_box():
    probs = torch.zeros(1, 4, 4)
    probs[:, :, :2] = 1
    (mask,) = paste_bitmaps(probs, BOXES[1:2], (9, 10), 0.5)
    assert mask[:8, :4].all() and not mask[:, 4:].any() and not mask[8].any()


@pytest.mark.parametrize(('threshold', 'covered'), [(0.3, True), (0.30001, False)])
def test_a_pixel_at_the_threshold_belongs_to_the_object(threshold, covered):
    probs = torch.full((1, 2, 2), 0.3)
    (mask,) = paste_bitmaps(probs, torch.tensor([[0.0, 0.0, 4.0, 4.0]]), (4, 4), threshold)
    assert bool(mask[1:3, 1:3].all()) == covered


def test_run_lengths_are_the_same_masks():
    torch.manual_seed(0)
    probs = torch.rand(3, 14, 14)
    bitmaps = paste_bitmaps(probs, BOXES, (9, 10), 0.5)
    rles = paste_rles(probs, BOXES, (9, 10), 0.5)
    assert [rle['size'] for rle in rles] == [[9, 10]] * 3
    assert np.array_equal(np.stack([coco_mask.decode(rle) for rle in rles]).astype(bool), bitmaps.numpy())


def test_no_boxes_give_no_masks():
    nothing = torch.zeros(0, 28, 28), torch.zeros(0, 4), (9, 10), 0.5
    assert paste_bitmaps(*nothing).shape == (0, 9, 10)
    assert paste_rles(*nothing) == []
