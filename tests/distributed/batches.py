"""The batches of the two-process tests: four images, of which each of two ranks gets two."""

from __future__ import annotations

import torch
from mmdet.structures import DetDataSample
from torch import Tensor

from glipv2_mmdet.models import GLIPv2, InterImageContrast, MLMHead
from tests.test_models.nano import CHANNELS, TEXT_CHANNELS, build_detector, data_sample

NUM_IMAGES = 4
BIG, SMALL, FLAT = [4, 6, 60, 58], [10, 12, 34, 40], [0, 20, 62, 44]
CAPTIONS = ('a dog near a cat', 'two cats', 'the old red car by a dog', 'a tree and a cat')


def batches() -> dict[str, list[DetDataSample]]:
    """By name; categories are shared across ranks and have other places in each prompt."""
    return dict(
        detection=[
            _classes(('cat', 'red car'), [BIG, SMALL], [1, 0]),
            _classes(('dog', 'cat', 'old tall tree'), [FLAT], [0]),
            _classes(('red car',), [SMALL, BIG], [0, 0]),
            _classes(('cat', 'sky', 'dog', 'Red_car'), [FLAT, SMALL], [0, 3]),
        ],
        sentence=[
            _caption(CAPTIONS[0], [[[0, 5]], [[11, 16]]], [BIG, SMALL], [0, 1]),
            _caption(CAPTIONS[1], [[[0, 8]]], [FLAT], [0]),
            _caption(CAPTIONS[2], [[[0, 15]], [[19, 24]]], [SMALL], [1]),
            _caption(CAPTIONS[3], [[[0, 6]], [[11, 16]]], [BIG, FLAT], [0, 1]),
        ],
        mixed=[
            _classes(('cat', 'dog'), [BIG], [1]),
            _caption(CAPTIONS[0], [[[0, 5]], [[11, 16]]], [BIG, SMALL], [0, 1]),
            _caption(CAPTIONS[1], [[[0, 8]]], [FLAT], [0]),
            _classes(('dog', 'red car', 'cat'), [SMALL, FLAT], [0, 2]),
        ],
        one_rank_without_positives=[
            _classes(('cat', 'dog'), [BIG, FLAT, SMALL], [1, 0, 0]),
            _caption(CAPTIONS[0], [[[0, 5]], [[11, 16]]], [BIG, SMALL], [0, 1]),
            _classes(('tree', 'dog'), [], []),
            _classes(('cat',), [], []),
        ],
    )


def images() -> Tensor:
    return torch.randn(NUM_IMAGES, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def detector() -> GLIPv2:
    """All losses; every word that may be hidden is, so that two ranks hide what one process hides."""
    model = build_detector()
    torch.manual_seed(1)
    model.inter_loss = InterImageContrast(CHANNELS, TEXT_CHANNELS, init_log_scale=-1.0)
    model.mlm_head = MLMHead(TEXT_CHANNELS, mask_probability=1.0, mask_share=1.0)
    return model


def _classes(names, boxes, labels) -> DetDataSample:
    return data_sample(names, boxes=boxes, labels=labels)


def _caption(text, spans, boxes, labels) -> DetDataSample:
    return data_sample(text, tokens_positive=spans, boxes=boxes, labels=labels)
