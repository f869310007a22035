"""Checkpoints of mmengine load with torch's weights-only protection on, and nothing else got through it."""

import io
import pickle
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import load_checkpoint
from packaging.version import Version
from torch import nn
from torch.utils.data import Dataset

from glipv2_mmdet.compat.safe_load import allow_mmengine_checkpoints, safe_globals

pytestmark = pytest.mark.skipif(
    Version(torch.__version__).release < (2, 6), reason='torch loads unprotected by default before 2.6'
)


class Points(Dataset):
    metainfo = dict(classes=('one', 'two'), palette=[(1, 2, 3), (4, 5, 6)])

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((2,), float(index)), torch.tensor([1.0])


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs, targets, mode='tensor'):
        output = self.layer(inputs)
        return {'loss': (output - targets).square().mean()} if mode == 'loss' else [output]


class NumpyScores(BaseMetric):
    """Scores as COCO's metric gives them: numpy numbers."""

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return {'mAP': np.float64(0.25), 'mAP_50': np.float32(0.5), 'count': np.int64(4)}


def make_runner(work_dir, epochs, resume=False):
    loader = dict(dataset=Points(), batch_size=2, num_workers=0, collate_fn=dict(type='default_collate'))
    return Runner(
        Line(),
        str(work_dir),
        train_dataloader=dict(loader, sampler=dict(type=DefaultSampler, shuffle=True)),
        val_dataloader=dict(loader, sampler=dict(type=DefaultSampler, shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=1),
        val_cfg=dict(),
        val_evaluator=[NumpyScores()],
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=3),
            dict(type='CosineAnnealingLR', T_max=3),
        ],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='mAP')),
        custom_hooks=[dict(type='EMAHook')],
        default_scope='mmengine',
        log_level='WARNING',
        experiment_name=f'{work_dir.name}-{epochs}',
        resume=resume,
    )


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """With everything a run leaves: optimiser, schedulers, averaged weights, logs, best score."""
    work_dir = tmp_path_factory.mktemp('run')
    make_runner(work_dir, epochs=2).train()
    return work_dir / 'epoch_2.pth'


def test_a_checkpoint_loads_by_default(checkpoint):
    content = torch.load(checkpoint, map_location='cpu')
    history = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert len(history.data[0]) == 4
    assert content['message_hub']['runtime_info']['best_score'] == 0.25
    assert {'state_dict', 'optimizer', 'param_schedulers', 'ema_state_dict', 'meta'} <= set(content)


def test_the_checkpoint_would_be_refused_without_the_list(checkpoint):
    """If this fails, mmengine stores plain values now and the allow-list can go."""
    with torch.serialization.safe_globals([]):
        torch.serialization.clear_safe_globals()
        try:
            with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
                torch.load(checkpoint, map_location='cpu')
        finally:
            allow_mmengine_checkpoints()
    torch.load(checkpoint, map_location='cpu')


def test_training_resumes_where_it_stopped(checkpoint):
    runner = make_runner(checkpoint.parent, epochs=3, resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 6)
    # two epochs of two steps came out of the checkpoint, the third was trained
    assert runner.optim_wrapper.optimizer.state_dict()['state'][0]['step'] == 6
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 6


def test_numpy_values_survive(tmp_path):
    names = ('bool', 'int32', 'int64', 'float16', 'float32', 'float64')
    values = {name: np.array([1, 2], dtype=name) for name in names}
    values['text'] = np.array(['red', 'circle'])
    values['scalar'] = np.float32(0.5)
    torch.save(values, tmp_path / 'values.pth')
    loaded = torch.load(tmp_path / 'values.pth')
    for name, value in values.items():
        np.testing.assert_array_equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype


@pytest.mark.parametrize('other', [b'cnumpy.core.multiarray\n', b'cnumpy._core.multiarray\n'])
def test_files_of_the_other_numpy_load(tmp_path, other):
    """numpy 1 and 2 name the same two functions differently."""
    source, target = tmp_path / 'own.pth', tmp_path / 'other.pth'
    torch.save({'scalar': np.float64(0.5), 'array': np.arange(3)}, source)
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, 'w') as write:
        for entry in read.infolist():
            data = read.read(entry)
            if entry.filename.endswith('data.pkl'):
                for own in (b'cnumpy.core.multiarray\n', b'cnumpy._core.multiarray\n'):
                    data = data.replace(own, other)
                assert other in data
            write.writestr(entry, data)
    loaded = torch.load(target)
    assert loaded['scalar'] == 0.5 and loaded['array'].tolist() == [0, 1, 2]


class Evil:
    """Runs a command when it is unpickled by an unprotected loader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_malicious_file_is_refused_and_nothing_runs(tmp_path):
    mark, file = tmp_path / 'mark', tmp_path / 'evil.pth'
    torch.save({'state_dict': {}, 'evil': Evil(mark)}, file)
    for load, arguments in ((torch.load, [file]), (load_checkpoint, [Line(), str(file)])):
        with pytest.raises(pickle.UnpicklingError):
            load(*arguments)
    assert not mark.exists()
    # the trap itself works: the unprotected loader springs it
    torch.load(file, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        ('cmmengine.logging.history_buffer\nHistoryBuffer\n', '__init__'),
        ('cmmengine.logging.history_buffer\nHistoryBuffer\n', '_statistics_methods'),
        ('cnumpy\nndarray\n', 'tofile'),
        ('cbuiltins\ngetattr\n', '__globals__'),
        ('ccollections\nOrderedDict\n', 'mean'),
    ],
)
def test_getattr_reaches_nothing_but_the_statistics(tmp_path, owner, name):
    # what pickle would write for getattr(owner, name)
    written_name = b'X' + len(name).to_bytes(4, 'little') + name.encode()
    code = b'\x80\x02cbuiltins\ngetattr\n' + owner.encode() + written_name + b'\x86R.'
    pickletools.dis(code, out=io.StringIO())
    file = tmp_path / 'getattr.pth'
    torch.save({}, file)
    rewritten = tmp_path / 'rewritten.pth'
    with zipfile.ZipFile(file) as read, zipfile.ZipFile(rewritten, 'w') as write:
        for entry in read.infolist():
            write.writestr(entry, code if entry.filename.endswith('data.pkl') else read.read(entry))
    with pytest.raises(pickle.UnpicklingError, match='Do not trust this file'):
        torch.load(rewritten)


def test_a_loader_with_an_unprotected_retreat_is_replaced(monkeypatch, tmp_path):
    """As onedl-mmengine has it: what torch refuses is read again without protection."""
    monkeypatch.setattr(
        'mmengine.runner.checkpoint._safe_torch_load',
        lambda file, **kwargs: torch.load(file, weights_only=False),
        raising=False,
    )
    allow_mmengine_checkpoints()
    mark, file = tmp_path / 'mark', tmp_path / 'evil.pth'
    torch.save(Evil(mark), file)
    with pytest.raises(pickle.UnpicklingError):
        mmengine_checkpoint._safe_torch_load(str(file), map_location='cpu')
    assert not mark.exists()


def test_the_builtin_getattr_is_not_on_the_list():
    assert getattr not in [entry[0] if isinstance(entry, tuple) else entry for entry in safe_globals()]
