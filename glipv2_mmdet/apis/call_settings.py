"""Settings of one call: checked once for every way in, and laid over the model without touching it.

Heads read their settings from ``test_cfg`` when they predict. Changing that would change later calls, and those of
other threads; so a call gets shallow copies of the detector and of the heads whose settings differ.
"""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from mmengine.config import ConfigDict
from torch import nn

from glipv2_mmdet.models import GLIPv2
from glipv2_mmdet.text.prompt import shorten

#: No model gives, and no machine holds, more of anything that is counted.
MAX_COUNT = 1_000_000
_COUNTS = ('max_boxes', 'num_answers', 'beam_size', 'max_words', 'batch_size', 'frame_step')
_SWITCHES = ('progress', 'stream')
#: Limits of shares, and whether they belong to the range.
_SHARES = {
    'threshold': (0.0, True, 1.0, False),
    'nms_iou': (0.0, False, 1.0, True),
    'mask_threshold': (0.0, True, 1.0, True),
}
_OPTIONAL = ('nms_iou', 'mask_threshold', 'beam_size', 'max_words')


@dataclass(frozen=True)
class CallSettings:
    """What a call of the inferencer may set, in Python's own types; None leaves it to the config.

    Args:
        threshold: minimum score of a box, from 0 to below 1.
        max_boxes: maximum number of boxes per image.
        nms_iou: IoU threshold of non-maximum suppression (per phrase), above 0 up to 1.
        mask_threshold: minimum probability of a pixel of a mask, from 0 to 1.
        num_answers: maximum number of answers per question.
        beam_size, max_words: of the search for a caption.
        batch_size: images that pass through the network together.
        frame_step: every n-th frame of a video is taken.
        progress: show a bar.
        stream: give an iterator instead of a list.

    Raises:
        ValueError: a value of another type (texts and truth values are no numbers, 1.5 is no count), NaN, infinite, or
            out of range.
    """

    threshold: float = 0.3
    max_boxes: int = 100
    nms_iou: float | None = None
    mask_threshold: float | None = None
    num_answers: int = 5
    beam_size: int | None = None
    max_words: int | None = None
    batch_size: int = 1
    frame_step: int = 1
    progress: bool = False
    stream: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None and name in _OPTIONAL:
                continue
            check = _share if name in _SHARES else _count if name in _COUNTS else _switch
            object.__setattr__(self, name, check(name, value))


def _share(name: str, value: Any) -> float:
    low, with_low, high, with_high = _SHARES[name]
    expected = (
        f'a number, {f"{low:g} or more" if with_low else f"more than {low:g}"} and '
        f'{f"at most {high:g}" if with_high else f"below {high:g}"}'
    )
    is_number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    # NaN is in no range
    if (
        not is_number
        or not (value >= low if with_low else value > low)
        or not (value <= high if with_high else value < high)
    ):
        raise _refusal(name, value, expected)
    return float(value)


def _count(name: str, value: Any) -> int:
    expected = f'a whole number from 1 to {MAX_COUNT:,}'
    if isinstance(value, (bool, np.bool_)):
        raise _refusal(name, value, expected)
    try:
        number = operator.index(value)
    except TypeError as error:
        raise _refusal(name, value, expected) from error
    if not 1 <= number <= MAX_COUNT:
        raise _refusal(name, value, expected)
    return number


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _refusal(name, value, 'True or False')
    return bool(value)


def _refusal(name: str, value: Any, expected: str) -> ValueError:
    kind = '' if type(value) in (int, float) else f' ({type(value).__name__})'
    # Python refuses to write out numbers of thousands of digits
    shown = 'a number of hundreds of digits' if type(value) is int and abs(value) > 10**300 else repr(value)
    return ValueError(f'{name} is {shorten(shown)}{kind}. Expected {expected}.')


def view_with_settings(
    model: GLIPv2, without: tuple[str, ...] = (), num_answers: int | None = None, **test_cfg: Any
) -> GLIPv2:
    """A detector with the weights of ``model`` and other settings; ``model`` stays as it is.

    Args:
        model: in eval mode; a view is for prediction only.
        without: parts that the call does not need, such as ``'mask_head'``.
        num_answers: most answers per question.
        test_cfg: settings of the heads that differ; None for those of the model.
    """
    changed = {name: value for name, value in test_cfg.items() if value is not None}
    view = _copy(model)
    view.test_cfg = ConfigDict({**model.test_cfg, **changed})
    for name in ('bbox_head', 'mask_head'):
        head = getattr(model, name)
        if head is not None:
            view._modules[name] = head = _copy(head)
            head.test_cfg = view.test_cfg
    if model.vqa_head is not None and num_answers is not None:
        view._modules['vqa_head'] = head = _copy(model.vqa_head)
        head.num_kept = min(num_answers, head.classifier.out_features)
    for name in without:
        view._modules[name] = None
    return view


def _copy(module: nn.Module) -> nn.Module:
    """The same parts and weights in a module of its own."""
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other
