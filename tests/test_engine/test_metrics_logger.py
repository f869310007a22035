"""The json file of test metrics: one writer, whole or absent, plain json."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.config import Config

from glipv2_mmdet.engine.hooks import metrics_logger


class FakeRunner:
    """What the hook asks a runner for."""

    def __init__(self, folder, values) -> None:
        self.log_dir = str(folder)
        self.test_dataloader = [0, 0]
        self.lines = []
        self.logger = SimpleNamespace(info=self.lines.append)
        self.log_processor = SimpleNamespace(get_log_after_epoch=lambda *_, **__: (values, 'the line'))


def hook():
    built = HOOKS.build(Config.fromfile('configs/_base_/runtime.py').default_hooks.logger)
    built.json_log_path = 'metrics.json'
    return built


def test_the_main_process_writes_plain_json(tmp_path):
    values = dict(mAP=np.float64(0.25), broken=float('nan'), table=torch.tensor([1, 2]), both=[0.5, np.inf], name='x')
    runner = FakeRunner(tmp_path, values)
    hook().after_test_epoch(runner)
    assert runner.lines == ['the line']
    assert [path.name for path in tmp_path.iterdir()] == ['metrics.json']
    assert json.loads((tmp_path / 'metrics.json').read_text()) == dict(
        mAP=0.25, broken=None, table=[1, 2], both=[0.5, None], name='x'
    )


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics_logger, 'is_main_process', lambda: False)
    runner = FakeRunner(tmp_path, dict(mAP=0.25))
    hook().after_test_epoch(runner)
    assert runner.lines == ['the line'] and list(tmp_path.iterdir()) == []


def test_an_error_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / 'metrics.json').write_text('{"mAP": 0.5}')

    def full_disk(_):
        raise OSError('no space')

    monkeypatch.setattr('glipv2_mmdet.files.os.fsync', full_disk)
    with pytest.raises(OSError, match='no space'):
        hook().after_test_epoch(FakeRunner(tmp_path, dict(mAP=0.25)))
    assert json.loads((tmp_path / 'metrics.json').read_text()) == dict(mAP=0.5)
    assert len(list(tmp_path.iterdir())) == 1
