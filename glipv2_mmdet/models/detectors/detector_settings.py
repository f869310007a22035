"""What may stand in a detector's ``train_cfg`` and ``test_cfg``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glipv2_mmdet.known_settings import check_keys, check_numbers

_WHOLE = ('nms_pre', 'max_per_img', 'max_per_prompt', 'chunked_size', 'prompts_per_batch', 'num_answers_kept')
_NUMBERS = ('score_thr', 'min_bbox_size', 'mask_thr_binary', 'default_threshold')
_OTHERS = ('nms', 'caption', 'rle_masks')
#: Of mmcv's ``batched_nms`` and the suppressions it calls.
_NMS = (
    'type',
    'iou_threshold',
    'iou_thr',
    'class_agnostic',
    'split_thr',
    'max_num',
    'score_threshold',
    'offset',
    'sigma',
    'min_score',
    'method',
)


def check_settings(train_cfg: Mapping[str, Any], test_cfg: Mapping[str, Any]) -> None:
    """Refuse settings that nothing would read, and values that would fail at the first image.

    Raises:
        ValueError: names the setting, and the nearest known one.
    """
    if train_cfg:
        raise ValueError(
            f'train_cfg of GLIPv2 has {", ".join(map(repr, train_cfg))}, and nothing would read it. The '
            'assigner is set by bbox_head.assigner, losses by bbox_head.loss_word and loss_box. Remove it.'
        )
    check_keys(test_cfg, (*_WHOLE, *_NUMBERS, *_OTHERS), 'test_cfg of GLIPv2')
    check_numbers(test_cfg, _WHOLE, 'test_cfg of GLIPv2', whole=True)
    check_numbers(test_cfg, _NUMBERS, 'test_cfg of GLIPv2')
    check_keys(test_cfg.get('nms', {}), _NMS, 'test_cfg.nms of GLIPv2')
