"""Our side: GLIPv2-T without masks and extra losses, which is GLIP-T, with the peer's weights converted."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

import glipv2_mmdet  # noqa: F401  (before anything imports mmdet)

# isort: split
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config

from glipv2_mmdet.checkpoints import load_weights, to_ours

CONFIG = Path(__file__).resolve().parents[2] / 'configs/glipv2/glip_t_c.py'


def build(checkpointing: bool) -> nn.Module:
    """GLIP-T in our form, with random weights.

    Args:
        checkpointing: of whole blocks of the fusion neck: leaner and slower. Otherwise only its attention is computed
            again, which costs next to nothing.
    """
    register_all_modules(init_default_scope=True)
    config = Config.fromfile(CONFIG).model
    config.fusion.grad_checkpointing = checkpointing or 'attention'
    # the peer cuts per prompt only
    config.test_cfg.max_per_prompt, config.test_cfg.max_per_img = config.test_cfg.max_per_img, -1
    return MODELS.build(config)


def load(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Weights under mmdet's names."""
    load_weights(model, to_ours(weights).state_dict)
