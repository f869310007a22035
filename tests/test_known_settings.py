"""Misspelled settings are errors that name the nearest known one."""

from __future__ import annotations

import math

import pytest
from mmdet.registry import MODELS

from glipv2_mmdet.known_settings import check_keys
from tests.test_models.nano import build_detector


def test_the_nearest_known_key_is_named():
    with pytest.raises(
        ValueError,
        match=(
            r'^test_cfg has no setting "score_th"\. Did you mean "score_thr"\? '
            r'Known are nms, score_thr\.$'
        ),
    ):
        check_keys({'nms': 1, 'score_th': 0.1}, ('score_thr', 'nms'), 'test_cfg')
    check_keys({'nms': 1}, ('score_thr', 'nms'), 'test_cfg')
    with pytest.raises(ValueError, match='Expected a dict'):
        check_keys('nms', ('nms',), 'test_cfg')


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(score_thrs=0.1), r'no setting "score_thrs"\. Did you mean "score_thr"'),
        (
            dict(nms=dict(type='nms', iou_treshold=0.5)),
            r'test_cfg\.nms .*"iou_treshold"\. Did you mean "iou_threshold"',
        ),
        (dict(nms_pre='many'), "nms_pre is 'many'"),
        (dict(score_thr=math.nan), 'score_thr is nan'),
        (dict(max_per_img=2.5), 'max_per_img is 2.5. Expected a whole number'),
    ],
)
def test_a_detector_refuses_settings_that_nothing_would_read(settings, message):
    with pytest.raises(ValueError, match=message):
        build_detector(**settings)


def test_a_detector_refuses_a_train_cfg():
    with pytest.raises(ValueError, match="train_cfg of GLIPv2 has 'assigner'"):
        build_detector(dict(train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9))))


def test_a_text_encoder_refuses_a_field_that_is_none():
    with pytest.raises(ValueError, match=r'BertConfig.* has no setting "hiden_size"\. Did you mean "hidden_size"'):
        MODELS.build(dict(type='BertTextEncoder', config=dict(hiden_size=32)))
