"""Nano models with random weights, one per task, as files and as inferencers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.apis.model_loading import inference_parts
from glipv2_mmdet.apis.model_names import config_of

#: One block per stage is enough for tests, and scores of untrained models start at 0.01.
SMALL = {'model.backbone.depths': (1, 1, 1, 1), 'model.test_cfg.score_thr': 0.0}


def nano_config(name: str, **changes) -> Config:
    """The shipped config of a short name, smaller."""
    config = Config.fromfile(config_of(name))
    config.merge_from_dict({**SMALL, **changes})
    return config


def write_weights(config: Config, file: Path) -> Path:
    """Random weights whose scores differ, as mmengine saves them."""
    torch.manual_seed(0)
    model = MODELS.build(inference_parts(config)[0])
    model.init_weights()
    for name in ('box', 'centerness', 'text_projection'):
        torch.nn.init.normal_(getattr(model.bbox_head, name).weight, std=0.1)
    torch.save(dict(state_dict=model.state_dict()), file)
    return file


@pytest.fixture(scope='session')
def nano(tmp_path_factory) -> Callable[[str], GLIPv2Inferencer]:
    """Short name → inferencer, built once per session."""
    folder, built = tmp_path_factory.mktemp('nano'), {}

    def get(name: str) -> GLIPv2Inferencer:
        if name not in built:
            config = nano_config(name)
            built[name] = GLIPv2Inferencer(config, write_weights(config, folder / f'{name}.pth'), 'cpu')
        return built[name]

    return get


@pytest.fixture(scope='session')
def nano_files(tmp_path_factory) -> Callable[[str], tuple[str, str]]:
    """Short name → config file and weights, for what takes paths."""
    folder, written = tmp_path_factory.mktemp('nano_files'), {}

    def get(name: str) -> tuple[str, str]:
        if name not in written:
            config = nano_config(name)
            config.dump(folder / f'{name}.py')
            written[name] = str(folder / f'{name}.py'), str(write_weights(config, folder / f'{name}.pth'))
        return written[name]

    return get


@pytest.fixture(scope='session')
def scenes(shapes_dir) -> list[str]:
    """Three small images of different sizes."""
    return [str(file) for file in sorted((shapes_dir / 'images/val').iterdir())[:3]]
