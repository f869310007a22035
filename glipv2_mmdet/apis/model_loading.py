"""Name, config or folder, and weights → a model in eval mode, ready for images. Every weight is accounted for."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger, print_log
from mmengine.registry import init_default_scope
from torch import Tensor

from glipv2_mmdet.apis.downloads import downloaded_weights
from glipv2_mmdet.apis.model_names import config_of
from glipv2_mmdet.apis.pretrained import is_pretrained, read_pretrained
from glipv2_mmdet.apis.shipped_weights import shipped_weights
from glipv2_mmdet.checkpoints import CheckpointError, load_weights, read_checkpoint, state_dict_of
from glipv2_mmdet.models import GLIPv2
from glipv2_mmdet.models.pretrained_encoder import encoders_of, with_text_encoder

#: Parts of a checkpoint that serve training alone.
TRAINING_PARTS = ('mlm_head', 'inter_loss', 'prompt_tuning')


@dataclass(frozen=True)
class LoadedModel:
    """A model and how its images are prepared.

    Attributes:
        model: in eval mode on its device.
        pipeline: steps of the test pipeline, the one that loads the image among them.
        config: of the model, complete; what ``save_pretrained`` writes.
    """

    model: GLIPv2
    pipeline: tuple[Mapping[str, Any], ...]
    config: Mapping[str, Any]


def load_model(
    model: str | PathLike | Config,
    weights: str | PathLike | None = None,
    device: str | torch.device | None = None,
) -> LoadedModel:
    """Build a model and load its weights.

    Args:
        model: short name ('glipv2-t'), config file, config, or folder of ``save_pretrained``.
        weights: ``.pth`` or ``.safetensors``. None: those in the folder, or those that ``glipv2 download`` has fetched
            for the name; otherwise they stay random, and a warning says so.
        device: 'cpu', 'cuda:1', ...; by default the GPU where there is one.

    Raises:
        FileNotFoundError: no such weights.
        CheckpointError: the weights do not fit the model; the text lists what is missing.
        ValueError: no such model, or the config is none of a GLIPv2 model.
    """
    init_default_scope('mmdet')
    if not isinstance(model, Config) and is_pretrained(model):
        folder = read_pretrained(model)
        parts, pipeline, weights = folder.model, folder.pipeline, weights or folder.weights
    else:
        config = model if isinstance(model, Config) else Config.fromfile(_config_file(model))
        parts, pipeline = inference_parts(config)
        if weights is None and isinstance(model, str):
            weights = shipped_weights(model) or downloaded_weights(model)
    # before a large model is built
    state_dict = None if weights is None else read_weights(weights)
    detector = MODELS.build(copy.deepcopy(parts))
    if state_dict is None:
        for _, encoder in encoders_of(detector):
            encoder.skip_pretrained = True
        with _quiet():
            detector.init_weights()
        print_log(
            f'{_title(model)} was given no weights: they are RANDOM, and what it finds means nothing. Pass '
            'weights="file.pth" (--weights file.pth).',
            logger='current',
            level=logging.WARNING,
        )
    else:
        _load(detector, state_dict, weights, _title(model))
    return LoadedModel(detector.to(device or get_device()).eval(), tuple(pipeline), parts)


def inference_parts(config: Config) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The model of a config without what serves training alone, and its test pipeline.

    Raises:
        ValueError: the model is no ``GLIPv2``, or there is no test pipeline.
    """
    name = config.filename or 'The config'
    parts = config.get('model', {})
    if str(parts.get('type', '')).split('.')[-1] != 'GLIPv2':
        raise ValueError(
            f'{name} is no config of a GLIPv2 model (type {parts.get("type")!r}). Give one of configs/glipv2.'
        )
    if 'test_dataloader' not in config:
        raise ValueError(
            f'{name} has no test_dataloader, whose pipeline says how images are prepared. Give the config '
            'the model was evaluated with.'
        )
    pipeline = get_test_pipeline_cfg(config)
    plain = copy.deepcopy(config).to_dict() if hasattr(config, 'to_dict') else copy.deepcopy(config._to_lazy_dict())
    parts = {**plain['model'], 'init_cfg': None, **{name: None for name in TRAINING_PARTS}}
    return parts, [dict(step) for step in Config(dict(steps=copy.deepcopy(pipeline))).to_dict()['steps']]


def read_weights(path: str | PathLike) -> dict[str, Tensor]:
    """Tensors of a ``.pth`` or ``.safetensors`` file by name, without running code that a file might hold.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it holds no weights.
    """
    return state_dict_of(read_checkpoint(path))


def _config_file(model: str | PathLike) -> Path:
    path = Path(model)
    if path.is_file():
        if path.suffix in ('.pth', '.pt', '.safetensors'):
            raise ValueError(f'model is "{path}", a file of weights. Give its config as model and the file as weights.')
        return path
    if path.suffix == '.py':
        raise FileNotFoundError(f'There is no config "{path}".')
    return config_of(str(model))


def _load(detector: GLIPv2, state_dict: Mapping[str, Tensor], weights: str | PathLike, title: str) -> None:
    state_dict = with_text_encoder(detector, state_dict)
    try:
        # older VQA checkpoints do not say which vocabulary they know
        load_weights(
            detector,
            state_dict,
            allow_missing=('vqa_head.vocabulary_hash',),
            allow_unexpected=[f'{part}.*' for part in TRAINING_PARTS],
        )
    except CheckpointError as error:
        raise CheckpointError(f'{title} was given "{weights}". {error}') from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without mmengine's four lines per tensor."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _title(model: str | PathLike | Config) -> str:
    return f'Model "{model.filename if isinstance(model, Config) else model}"'
