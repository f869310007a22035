"""Keeps the text of a sample where a pipeline of mmdet packs it under ``meta_keys`` that do not name it.

mmdet's ``tools/test.py --tta`` and others write their own ``PackDetInputs`` with the keys of a detector without text;
a model that reads text then gets none. What a prompt consists of is packed whenever the sample has it, but in training
pipelines of this package, which pack a finished prompt.

Expiry: when mmdet's tools take the meta keys of the config.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

#: What mmdet's and this package's data sets call the parts of a prompt.
TEXT_KEYS = ('text', 'custom_entities', 'tokens_positive', 'caption_prompt')


def keep_text_of_samples() -> None:
    """Let mmdet's ``PackDetInputs`` pack what of :data:`TEXT_KEYS` a sample has; a second call changes nothing."""
    # mmdet's transforms need mmcv's operations, which are in place when this is called
    from mmdet.datasets.transforms import PackDetInputs

    if not hasattr(PackDetInputs.transform, '__wrapped__'):
        PackDetInputs.transform = _with_text(PackDetInputs.transform)


def _with_text(transform: Callable[[Any, dict], dict]) -> Callable[[Any, dict], dict]:
    @functools.wraps(transform)
    def pack(self: Any, results: dict) -> dict:
        packed = transform(self, results)
        sample = packed['data_samples']
        if 'prompt' not in results:
            sample.set_metainfo({key: results[key] for key in TEXT_KEYS if key in results and key not in sample})
        return packed

    return pack
