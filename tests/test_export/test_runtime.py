"""The numpy parts of the runner against the libraries they stand in for."""

from __future__ import annotations

import cv2
import mmcv
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.datasets.transforms import transforms
from PIL import Image
from torchvision.ops import batched_nms

from glipv2_mmdet.export.runtime.decode import level_sizes, suppress
from glipv2_mmdet.export.runtime.masks import paste
from glipv2_mmdet.export.runtime.preprocess import scale, scaled_size
from glipv2_mmdet.export.runtime.prompts import PromptReader, join_names, split_names
from glipv2_mmdet.models.mask_heads.paste import paste_bitmaps
from glipv2_mmdet.text import PromptTokenizer, parse_prompt, phrase_token_map, prompt_from_classes

SIDES = st.integers(2, 90)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 99))
def test_scaling_is_that_of_opencv_to_the_last_bit(height, width, new_height, new_width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(scale(image, new_height, new_width, 'cv2'), expected)


def test_scaling_by_pillow_is_that_of_mmcv():
    image = np.random.default_rng(0).integers(0, 256, (60, 47, 3), dtype=np.uint8)
    expected = mmcv.imresize(image, (30, 41), backend='pillow')
    np.testing.assert_array_equal(scale(image, 41, 30, 'pillow'), expected)
    assert Image.fromarray(image).size == (47, 60)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_scaled_size_is_that_of_mmcv(height, width):
    expected = mmcv.image.rescale_size((width, height), (1333, 800))
    assert scaled_size((height, width), (1333, 800)) == expected[::-1]
    of_glip = transforms.rescale_size((width, height), (1333, 800))  # of FixScaleResize
    assert scaled_size((height, width), (1333, 800), rounds=False) == of_glip[::-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 99), st.sampled_from([0.3, 0.6]))
def test_suppression_is_that_of_torchvision(count, seed, threshold):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 40, (count, 2))
    boxes = np.concatenate((corners, corners + rng.integers(1, 30, (count, 2))), axis=1).astype(np.float32)
    scores = np.sort(rng.permutation(count).astype(np.float32))[::-1].copy()
    labels = rng.integers(0, 3, count)
    expected = batched_nms(torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels), threshold)
    np.testing.assert_array_equal(suppress(boxes, labels, threshold), np.sort(expected.numpy()))


def test_pasting_is_that_of_the_mask_head():
    rng = np.random.default_rng(0)
    probs = rng.random((5, 28, 28), dtype=np.float32)
    boxes = np.float32(
        [[3.2, 4.1, 40.7, 30.2], [-6, -3, 20, 70], [0, 0, 64, 48], [63, 47, 64.5, 48.5], [10, 10, 11, 12]]
    )
    expected = paste_bitmaps(torch.tensor(probs), torch.tensor(boxes), (48, 64), 0.5).numpy()
    found = paste(probs, boxes, (48, 64), 0.5)
    assert expected[:3].any(axis=(1, 2)).all()
    assert (found != expected).mean() < 1e-3


def test_levels_round_up():
    assert level_sizes((96, 160), (8, 16, 32, 64, 128)) == [240, 60, 15, 6, 2]


@pytest.mark.parametrize(
    'names', [['cat'], ['traffic_light (big)', 'St. Bernard', 'T-shirt'], ['a b', 'b  c_d', "person's hat"]]
)
def test_prompts_are_those_of_the_package(names):
    tokenizer = PromptTokenizer()
    expected = tokenizer(prompt_from_classes(names))
    reader = PromptReader(tokenizer.tokenizer.backend_tokenizer.to_str(), 256)
    tokens = reader(names)
    assert tuple(tokens.ids[0]) == expected.input_ids
    np.testing.assert_array_equal(tokens.phrase_map > 0, phrase_token_map(expected, len(expected.input_ids)).numpy())
    np.testing.assert_allclose(tokens.phrase_map.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize('text', ['cat . dog', 'cat. dog.', ' red circle .. v2.0 thing '])
def test_strings_are_cut_like_those_of_the_package(text):
    prompt = parse_prompt(text, custom_entities=True)
    assert split_names(text) == prompt.names
    assert join_names(prompt.names)[0] == prompt.text


@pytest.mark.parametrize(
    ('prompt', 'message'), [('...', 'no names'), (['dog', 'Dog'], 'twice'), (['(x)'], 'letter or digit')]
)
def test_prompts_that_ask_for_nothing_are_refused(prompt, message):
    with pytest.raises(ValueError, match=message):
        split_names(prompt)
