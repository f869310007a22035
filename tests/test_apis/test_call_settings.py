"""Settings of a call: what is taken, what is refused, and what the message says."""

import math

import numpy as np
import pytest
import torch

from glipv2_mmdet.apis.call_settings import MAX_COUNT, CallSettings

COUNTS = ('max_boxes', 'num_answers', 'beam_size', 'max_words', 'batch_size', 'frame_step')
HUGE = 10**5000
SHARES = ('threshold', 'nms_iou', 'mask_threshold')


def repr_short(value):
    return 'huge' if value is HUGE else repr(value)


@pytest.mark.parametrize('name', COUNTS)
@pytest.mark.parametrize('value', [1, np.int64(7), np.uint8(3), torch.tensor(5), MAX_COUNT])
def test_whole_numbers_of_any_kind_become_int(name, value):
    taken = getattr(CallSettings(**{name: value}), name)
    assert type(taken) is int and taken == int(value)


@pytest.mark.parametrize('name', COUNTS)
@pytest.mark.parametrize(
    'value', [0, -1, 1.5, 2.0, math.inf, math.nan, '2', True, np.True_, [1], b'1', MAX_COUNT + 1, HUGE], ids=repr_short
)
def test_no_count(name, value):
    with pytest.raises(ValueError, match=rf'^{name} is .* Expected a whole number from 1 to 1,000,000\.$'):
        CallSettings(**{name: value})


@pytest.mark.parametrize('name', SHARES)
@pytest.mark.parametrize('value', [0.5, np.float32(0.25), np.float64(0.75)])
def test_shares_of_any_kind_become_float(name, value):
    taken = getattr(CallSettings(**{name: value}), name)
    assert type(taken) is float and taken == float(value)


@pytest.mark.parametrize('name', SHARES)
@pytest.mark.parametrize('value', ['0.5', True, math.nan, math.inf, -0.1, 1.1, [0.5], 1j, HUGE], ids=repr_short)
def test_no_share(name, value):
    with pytest.raises(
        ValueError, match=rf'^{name} is .* Expected a number, (0 or more|more than 0) and (below|at most)'
    ):
        CallSettings(**{name: value})


def test_the_ends_of_the_ranges():
    assert CallSettings(threshold=0, nms_iou=1, mask_threshold=1).threshold == 0.0
    for name, value in (('threshold', 1.0), ('nms_iou', 0)):
        with pytest.raises(ValueError, match=f'{name} is {value}'):
            CallSettings(**{name: value})


@pytest.mark.parametrize('name', ['threshold', 'max_boxes', 'num_answers', 'batch_size', 'frame_step', 'stream'])
def test_none_only_where_the_config_has_a_value(name):
    with pytest.raises(ValueError, match=rf'{name} is None \(NoneType\)'):
        CallSettings(**{name: None})
    assert CallSettings(nms_iou=None, mask_threshold=None, beam_size=None, max_words=None) == CallSettings()


def test_a_text_is_no_switch():
    with pytest.raises(ValueError, match=r"stream is 'no' \(str\)\. Expected True or False"):
        CallSettings(stream='no')
    assert CallSettings(progress=np.True_).progress is True


def test_a_long_value_is_cut():
    with pytest.raises(ValueError, match='…') as caught:
        CallSettings(threshold='x' * 10_000)
    assert len(str(caught.value)) < 200
