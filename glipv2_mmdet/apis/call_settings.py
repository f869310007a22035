"""Settings of one call without touching the model: a view of it that shares every weight.

Heads read their settings from ``test_cfg`` when they predict. Changing that would change later calls, and those of
other threads; so a call gets shallow copies of the detector and of the heads whose settings differ.
"""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import ConfigDict
from torch import nn

from glipv2_mmdet.models import GLIPv2


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
