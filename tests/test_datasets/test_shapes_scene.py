"""One scene: what is drawn where, and what a seed promises."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from glipv2_mmdet.datasets.shapes_scene import COLOURS, HELD_OUT, SEEN, SHAPES, draw_scene

SCENES = [('train', k) for k in range(1, 21)] + [('val', k) for k in range(1, 6)]


@cache
def draw_once(split, index):
    return draw_scene(0, split, index)


def test_each_colour_and_each_shape_is_held_out_once():
    assert sorted(c for c, _ in HELD_OUT) == sorted(COLOURS)
    assert sorted(s for _, s in HELD_OUT) == sorted(SHAPES)
    assert len(SEEN) == 30
    assert set(SEEN).isdisjoint(HELD_OUT)


def test_equal_arguments_draw_equal_pixels_and_others_do_not():
    scene, again = draw_scene(3, 'train', 7), draw_scene(3, 'train', 7)
    assert np.array_equal(scene.image, again.image)
    assert [o.box for o in scene.objects] == [o.box for o in again.objects]
    for other in (draw_scene(4, 'train', 7), draw_scene(3, 'val', 7), draw_scene(3, 'train', 8)):
        assert other.image.shape != scene.image.shape or not np.array_equal(other.image, scene.image)


@pytest.mark.parametrize(('split', 'index'), SCENES[::3])
def test_boxes_enclose_the_visible_pixels_and_masks_share_none(split, index):
    scene = draw_once(split, index)
    height, width = scene.image.shape[:2]
    assert 160 <= min(height, width) <= max(height, width) <= 256
    assert 1 <= len(scene.objects) <= 6
    assert np.sum([o.mask for o in scene.objects], axis=0).max() == 1
    for item in scene.objects:
        x1, y1, x2, y2 = item.box
        assert item.mask[y1:y2, x1:x2].sum() == item.mask.sum() > 0
        assert item.mask[y1].any() and item.mask[y2 - 1].any()
        assert item.mask[:, x1].any() and item.mask[:, x2 - 1].any()
        assert item.visible >= 0.5


def test_held_out_pairs_are_drawn_in_every_zero_shot_scene_and_nowhere_else():
    for split, index in SCENES:
        assert {(o.colour, o.shape) for o in draw_once(split, index).objects} <= set(SEEN)
    pairs = Counter(
        pair
        for k in range(1, 21)
        for pair in {(o.colour, o.shape) in HELD_OUT for o in draw_scene(0, 'zero_shot', k).objects}
    )
    assert pairs[True] == 20  # a held-out pair in each scene
    assert pairs[False] > 5  # and seen pairs as distractors in many


def test_visible_pixels_have_the_colour_that_the_object_is_named_after():
    """The median over an object's pixels is closest to its own reference colour, whatever texture it has."""
    names, references = list(COLOURS), np.array(list(COLOURS.values()), dtype=float)
    references /= np.linalg.norm(references, axis=1, keepdims=True)  # textures change brightness only
    for split, index in SCENES:
        scene = draw_once(split, index)
        for item in scene.objects:
            colour = np.median(scene.image[item.mask].astype(float), axis=0)
            assert names[int(np.argmax(references @ colour))] == item.colour, (split, index, item.box)


def test_objects_are_brighter_than_the_background_in_their_strongest_channel():
    for split, index in SCENES:
        scene = draw_once(split, index)
        background = ~np.any([o.mask for o in scene.objects], axis=0)
        for item in scene.objects:
            inside = np.percentile(scene.image[item.mask].max(axis=1), 75)
            assert inside > np.median(scene.image[background].max(axis=1)) + 25, (split, index, item.box)
