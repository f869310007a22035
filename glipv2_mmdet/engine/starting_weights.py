"""What a training starts from: a checkpoint, published weights of its encoders, or random numbers that were asked for.

A recipe whose encoders would start from random numbers by accident learns next to nothing at the learning rate of a
pre-trained one, for days. So it stops before the data are read.
"""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from glipv2_mmdet.checkpoints import PretrainedWeightsError
from glipv2_mmdet.checkpoints.pretrained_image import WAYS_OUT
from glipv2_mmdet.engine.whole_checkpoints import LAST_CHECKPOINT
from glipv2_mmdet.models.pretrained_encoder import PretrainedEncoder, encoders_of


class StartingWeightsError(PretrainedWeightsError):
    """A training would start from random weights, and its config does not say that it should."""


def prepare_starting_weights(model: nn.Module, has_checkpoint: bool) -> None:
    """Decide what encoders start from; those that need published weights have them afterwards.

    Args:
        model: detector, wrapped for distributed training or not. Other models than this package's pass.
        has_checkpoint: a checkpoint will be loaded over the model, which makes published weights unnecessary.

    Raises:
        StartingWeightsError: an encoder, or a part that does not learn, would start from random weights.
        PretrainedWeightsError: published weights cannot be had, are damaged, or are of another architecture.
    """
    model = model.module if is_model_wrapper(model) else model
    has_checkpoint = has_checkpoint or _is_pretrained(model)
    encoders = dict(encoders_of(model))
    for name, encoder in encoders.items():
        encoder.skip_pretrained = has_checkpoint
        if has_checkpoint:
            continue
        if encoder.pretrained is None and not encoder.from_scratch:
            raise StartingWeightsError(
                f'The training would start {name} ({type(encoder).__name__}) from random weights: it has neither '
                f'pretrained=... nor a checkpoint (load_from). {WAYS_OUT}'
            )
        if encoder.pretrained is None:
            print_log(f'{name} starts from random weights, as its config says (from_scratch).', logger='current')
        else:
            encoder.load_pretrained()
    if not has_checkpoint:
        _check_frozen_parts(model, encoders)


def brings_checkpoint(config: Config) -> bool:
    """Whether a run of this config will load a checkpoint: one that is named, or the last one of its work folder."""
    start_from = config.get('default_hooks', {}).get('checkpoint', {}).get('start_from')
    if config.get('load_from') or start_from:
        return True
    work_dir = Path(config.get('work_dir') or '.')
    checkpoints = (work_dir / LAST_CHECKPOINT, *work_dir.glob('iter_*.pth'), *work_dir.glob('epoch_*.pth'))
    return bool(config.get('resume')) and any(path.is_file() for path in checkpoints)


def _is_pretrained(model: nn.Module) -> bool:
    init_cfg = getattr(model, 'init_cfg', None) or {}
    settings = init_cfg if isinstance(init_cfg, list) else [init_cfg]
    return any(str(setting.get('type', '')).endswith('Pretrained') for setting in settings)


def _check_frozen_parts(model: nn.Module, encoders: dict[str, PretrainedEncoder]) -> None:
    random = [name for name in getattr(model, 'frozen_parts', ()) if name not in encoders and _has_weights(model, name)]
    if random:
        raise StartingWeightsError(
            f'The training would keep random weights in {", ".join(random)}: those parts do not learn (frozen_parts or '
            'prompt_tuning), and no checkpoint brings weights for them. Give one: load_from=FILE '
            '(--cfg-options load_from=FILE).'
        )


def _has_weights(model: nn.Module, name: str) -> bool:
    part = getattr(model, name)
    return part is not None and any(True for _ in part.parameters())
