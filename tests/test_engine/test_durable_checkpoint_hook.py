"""A run whose checkpoints survive: what is on the disk at every moment, and what a resumed run stands on."""

import logging
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from glipv2_mmdet.apis.finetuning_config import FinetuneSettings, training_config
from glipv2_mmdet.checkpoints import CheckpointError, save_safetensors
from glipv2_mmdet.engine.data_fingerprint import DataChangedError
from glipv2_mmdet.engine.ended_runs import RunEndedError, explain_end
from glipv2_mmdet.engine.hooks import DurableCheckpointHook
from glipv2_mmdet.files import DiskFullError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


class Lines(Dataset):
    """A number per line of a file."""

    metainfo = dict(classes=('one',))

    def __init__(self, file):
        self.ann_file = str(file)
        self.numbers = [float(line) for line in Path(file).read_text().splitlines()]

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        return dict(batch=torch.tensor([self.numbers[index]]))


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, batch, mode='tensor'):
        output = self.layer(batch.float())
        return dict(loss=output.square().mean()) if mode == 'loss' else [output]


class Scores(BaseMetric):
    default_prefix = None

    def __init__(self, scores, seen):
        super().__init__()
        self.scores, self.seen = list(scores), seen

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.seen.append(len(self.scores))
        return dict(ap=self.scores.pop(0))


class Stop(Exception):
    """Stands for a kill."""


class StopAt(Hook):
    priority = 'LOWEST'

    def __init__(self, step):
        self.step = step

    def after_train_iter(self, runner, **kwargs):
        if runner.iter + 1 == self.step:
            raise Stop


@pytest.fixture
def numbers(tmp_path):
    file = tmp_path / 'numbers.txt'
    file.write_text('\n'.join(map(str, range(12))))
    return file


def run(
    folder,
    numbers,
    steps=8,
    scores=(),
    stop=None,
    resume=False,
    load_from=None,
    seen=None,
    epochs=False,
    lr=0.1,
    batch_size=2,
    **settings,
):
    loader = dict(batch_size=batch_size, num_workers=0, dataset=Lines(numbers), collate_fn=dict(type='default_collate'))
    validation = (
        dict(
            val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            val_cfg=dict(),
            val_evaluator=Evaluator(Scores(scores, [] if seen is None else seen)),
        )
        if scores
        else {}
    )
    runner = Runner(
        Model(),
        str(folder),
        **validation,
        resume=resume,
        load_from=load_from,
        train_dataloader=dict(
            loader,
            sampler=dict(type='InfiniteSampler', shuffle=True)
            if not epochs
            else dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=steps, val_interval=2)
        if epochs
        else dict(by_epoch=False, max_iters=steps, val_interval=4),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=lr)),
        default_hooks=dict(
            logger=None,
            timer=None,
            checkpoint=dict(
                dict(type='DurableCheckpointHook', by_epoch=epochs, interval=2, max_keep_ckpts=2), **settings
            ),
        ),
        custom_hooks=[StopAt(stop)] if stop else [],
        log_level='ERROR',
        default_scope='mmdet',
        randomness=dict(seed=1),
        experiment_name=f'{folder.name}{os.urandom(4).hex()}',
        cfg=Config(dict()),
    )
    try:
        runner.train()
    except Stop:
        pass
    return runner


def names(folder):
    """All files but the config."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py')


def test_the_old_checkpoint_goes_when_the_new_one_and_its_note_are_complete(tmp_path, numbers, monkeypatch):
    folder, moments = tmp_path / 'run', []
    replace, remove = os.replace, os.remove

    def record(what, act):
        def recording(path, *more):
            moments.append((what, Path(more[0] if more else path).name, names(folder)))
            act(path, *more)

        return recording

    monkeypatch.setattr(os, 'replace', record('named', replace))
    monkeypatch.setattr(os, 'remove', record('removed', remove))
    run(folder, numbers, steps=6)
    temporary = f'.{os.getpid()}.tmp'
    assert moments[-3:] == [
        ('named', 'iter_6.pth', ['iter_2.pth', 'iter_4.pth', f'iter_6.pth{temporary}', 'last_checkpoint']),
        (
            'named',
            'last_checkpoint',
            ['iter_2.pth', 'iter_4.pth', 'iter_6.pth', 'last_checkpoint', f'last_checkpoint{temporary}'],
        ),
        ('removed', 'iter_2.pth', ['iter_2.pth', 'iter_4.pth', 'iter_6.pth', 'last_checkpoint']),
    ]
    assert names(folder) == ['iter_4.pth', 'iter_6.pth', 'last_checkpoint']
    assert (folder / 'last_checkpoint').read_text() == str(folder / 'iter_6.pth')
    content = torch.load(folder / 'iter_6.pth')
    assert content['message_hub']['runtime_info']['keep_ckpt_ids'] == [4, 6]


def test_the_earlier_best_goes_when_the_new_one_is_complete(tmp_path, numbers, monkeypatch):
    folder, moments = tmp_path / 'run', []
    remove = os.remove
    monkeypatch.setattr(os, 'remove', lambda path: (moments.append((Path(path).name, names(folder))), remove(path)))
    run(folder, numbers, scores=(0.1, 0.2), save_best='ap', rule='greater')
    best = [moment for moment in moments if moment[0].startswith('best')]
    assert best == [
        (
            'best_ap_iter_4.pth',
            ['best_ap_iter_4.pth', 'best_ap_iter_8.pth', 'iter_6.pth', 'iter_8.pth', 'last_checkpoint'],
        )
    ]
    assert names(folder) == ['best_ap_iter_8.pth', 'iter_6.pth', 'iter_8.pth', 'last_checkpoint']


def test_a_failed_save_removes_nothing(tmp_path, numbers, monkeypatch):
    folder = tmp_path / 'run'
    sync, calls = os.fsync, []

    def full(number):
        if 'iter_8' in os.readlink(f'/proc/self/fd/{number}'):
            raise OSError(28, 'No space left on device')
        sync(number)

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(
        DiskFullError,
        match=r'iter_8\.pth could not be written: the disk is full\. It needs 0\.0 MB.*'
        'then give the same command with --resume',
    ):
        run(folder, numbers)
    assert not calls and names(folder) == ['iter_4.pth', 'iter_6.pth', 'last_checkpoint']
    monkeypatch.setattr(os, 'fsync', sync)
    assert run(folder, numbers, resume=True).iter == 8


def test_one_checkpoint_is_not_enough_and_an_unknown_setting_is_refused():
    assert DurableCheckpointHook(max_keep_ckpts=1).max_keep_ckpts == 2
    assert [DurableCheckpointHook(max_keep_ckpts=number).max_keep_ckpts for number in (-1, 2, 5)] == [-1, 2, 5]
    with pytest.raises(ValueError, match="data_changed is 'ignore'; expected 'error' or 'warn'"):
        DurableCheckpointHook(data_changed='ignore')


def test_resume_takes_the_newest_whole_one_and_clears_leftovers(tmp_path, numbers):
    whole = run(tmp_path / 'whole', numbers)
    folder = tmp_path / 'run'
    run(folder, numbers, stop=7)
    os.truncate(folder / 'iter_6.pth', 1000)
    (folder / 'iter_8.pth.123.tmp').write_bytes(b'part')
    resumed = run(folder, numbers, resume=True)
    assert names(folder) == ['iter_6.pth', 'iter_8.pth', 'last_checkpoint']
    assert resumed._load_from == str(folder / 'iter_4.pth')
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


def test_a_named_damaged_checkpoint_is_refused_and_nothing_to_resume_from_is_a_start(tmp_path, numbers):
    folder = tmp_path / 'run'
    assert run(folder, numbers, steps=2, resume=True).iter == 2
    for resume in (True, False):
        os.truncate(folder / 'iter_2.pth', 1000)
        with pytest.raises(CheckpointError, match=r'iter_2\.pth is damaged: it was cut off'):
            run(tmp_path / 'other', numbers, resume=resume, load_from=str(folder / 'iter_2.pth'))
    with pytest.raises(CheckpointError, match=r'No checkpoint in .* is whole'):
        run(folder, numbers, resume=True)


def test_other_training_data_are_refused_unless_they_are_wanted(tmp_path, numbers):
    folder = tmp_path / 'run'
    run(folder, numbers, stop=5)
    content = numbers.read_text()
    numbers.write_text(content.rpartition('\n')[0])
    with pytest.raises(
        DataChangedError,
        match=r'numbers\.txt has other content \(25 bytes before, 22 now\), 12 '
        r'samples before, 11 now.*data_changed=warn',
    ):
        run(folder, numbers, resume=True)
    # weights alone are another run
    assert run(tmp_path / 'tuned', numbers, load_from=str(folder / 'iter_4.pth')).iter == 8
    numbers.write_text(content)
    assert run(folder, numbers, resume=True, steps=6).iter == 6
    numbers.write_text('1\n2')
    assert run(folder, numbers, resume=True, data_changed='warn').iter == 8


def test_a_changed_learning_rate_is_applied_and_another_batch_size_is_named(tmp_path, numbers, caplog):
    folder = tmp_path / 'run'
    run(folder, numbers, stop=5)
    logger = logging.getLogger('glipv2_mmdet.test')
    with pytest.MonkeyPatch.context() as patch:
        # mmengine's logger of a run does not hand its records on
        patch.setattr(Runner, 'build_logger', lambda *args, **kwargs: logger)
        resumed = run(folder, numbers, resume=True, lr=0.01, batch_size=3)
    assert resumed.iter == 8 and resumed.optim_wrapper.param_groups[0]['lr'] == 0.01
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert 'Settings changed since the checkpoint, and apply from here: lr 0.1 before, 0.01 now.' in warnings
    assert any('1 process of 2 images (2 images per step), this run has 1 process of 3' in text for text in warnings)
    caplog.clear()
    assert run(folder, numbers, resume=True, lr=0.01, batch_size=3, steps=9).iter == 9
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize('epochs', [False, True])
def test_a_validation_that_was_cut_off_is_made_up_for(tmp_path, numbers, epochs):
    folder, seen = tmp_path / 'run', []
    step, last = ('epoch', 4) if epochs else ('iter', 8)
    first = 2 if epochs else 4

    class Broken(Scores):
        def compute_metrics(self, results):
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), 'Scores', Broken)
        run(folder, numbers, scores=(0.5,), epochs=epochs, steps=last, save_best='ap', rule='greater')
    assert names(folder) == sorted(['last_checkpoint', f'{step}_{first}.pth', *([] if epochs else ['iter_2.pth'])])
    run(
        folder,
        numbers,
        scores=(0.5, 0.2),
        epochs=epochs,
        steps=last,
        resume=True,
        seen=seen,
        save_best='ap',
        rule='greater',
    )
    assert len(seen) == 2 and f'best_ap_{step}_{first}.pth' in names(folder)
    # a better best was saved after the last validation but this one: only the last has to be made up for
    run(
        folder,
        numbers,
        scores=(0.1,),
        epochs=epochs,
        steps=last,
        resume=True,
        seen=seen,
        save_best='ap',
        rule='greater',
    )
    assert len(seen) == 3
    run(
        folder,
        numbers,
        scores=(0.1,),
        epochs=epochs,
        steps=last,
        resume=True,
        seen=seen,
        save_best='ap',
        rule='greater',
        repeat_validation=False,
    )
    assert len(seen) == 3


def test_a_validation_that_the_checkpoint_knows_is_not_repeated(tmp_path, numbers):
    folder, seen = tmp_path / 'run', []
    run(folder, numbers, steps=8, scores=(0.1, 0.2), save_best='ap', rule='greater')
    run(folder, numbers, steps=8, scores=(0.3,), resume=True, seen=seen, save_best='ap', rule='greater')
    assert seen == []


def test_finetuning_saves_this_way(tmp_path):
    data = type('Data', (), dict(ann_files=dict(train='a', valid='b'), classes=('a',)))
    settings = FinetuneSettings(str(CONFIGS / 'glipv2/glipv2_nano_raccoon.py'), 'a.pth', str(tmp_path), mode='full')
    hook = training_config(settings, data).default_hooks.checkpoint
    assert (hook.type, hook.max_keep_ckpts) == ('DurableCheckpointHook', 2)


# ---- what is said at the end


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (
            'DataLoader worker (pid 7) is killed by signal: Killed. ',
            'A process that loads data was ended from outside '
            '.DataLoader worker .pid 7. is killed by signal: Killed.. Often',
        ),
        (
            '[pair.cc:538] Read error [127.0.0.1]:45792: Connection reset by peer',
            'The connection to another process of this run is lost .*reset by peer.. Its end is the cause',
        ),
    ],
)
def test_what_ended_a_run_from_outside_is_explained(tmp_path, text, expected):
    (tmp_path / 'last_checkpoint').write_text('runs/iter_4.pth')
    with (
        pytest.raises(
            RunEndedError,
            match=rf'{expected}.*The last checkpoint is runs/iter_4\.pth\. To go on from it, '
            'give the same command with --resume',
        ),
        explain_end(tmp_path),
    ):
        raise RuntimeError(text)


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (RuntimeError('shapes do not fit'), KeyError('a'), CheckpointError('b')):
        with pytest.raises(type(error)) as caught, explain_end(tmp_path):
            raise error
        assert caught.value is error


def test_a_loader_that_died_while_it_handed_over_a_batch_is_explained(tmp_path):
    def _try_get_data():  # a function of torch's DataLoader
        raise ConnectionResetError(104, 'Connection reset by peer')

    with (
        pytest.raises(
            RunEndedError,
            match=r'A process that loads data was ended from outside .*reset by peer\).*No '
            'checkpoint was saved yet: start again',
        ),
        explain_end(tmp_path),
    ):
        _try_get_data()


def test_sigterm_is_answered_and_obeyed(tmp_path):
    told = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    reader, writer = os.pipe()
    saved = os.dup(2)
    try:
        os.dup2(writer, 2)
        with explain_end(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
        os.dup2(saved, 2)
        assert told == [signal.SIGTERM]
        assert os.read(reader, 1000).decode().startswith('This process was told to stop (SIGTERM)')
    finally:
        os.dup2(saved, 2)
        signal.signal(signal.SIGTERM, before)
        for number in (reader, writer, saved):
            os.close(number)


def test_safetensors_are_loaded_not_resumed_and_refused_when_cut_off(tmp_path, numbers):
    folder = tmp_path / 'first'
    run(folder, numbers, steps=2)
    weights = tmp_path / 'weights.safetensors'
    save_safetensors(weights, torch.load(folder / 'iter_2.pth', weights_only=True)['state_dict'])
    assert run(tmp_path / 'tuned', numbers, load_from=str(weights)).iter == 8
    with pytest.raises(CheckpointError, match='holds weights alone'):
        run(tmp_path / 'resumed', numbers, resume=True, load_from=str(weights))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match='is damaged: it cannot be read as safetensors'):
        run(tmp_path / 'cut', numbers, load_from=str(weights))


def test_a_note_that_is_no_text_is_passed_over_and_a_folder_of_its_name_refused(tmp_path, numbers):
    folder = tmp_path / 'run'
    run(folder, numbers, stop=7)
    (folder / 'last_checkpoint').write_bytes(b'\x80\x81')
    resumed = run(folder, numbers, resume=True)
    assert resumed.iter == 8 and resumed._load_from == str(folder / 'iter_6.pth')
    (folder / 'last_checkpoint').unlink()
    (folder / 'last_checkpoint').mkdir()
    with pytest.raises(CheckpointError, match='last_checkpoint" is a folder, and the run writes a file of that name'):
        run(folder, numbers, resume=True, steps=10)


def test_ctrl_c_is_one_line_with_the_way_to_go_on(tmp_path, capsys):
    (tmp_path / 'last_checkpoint').write_text('runs/iter_4.pth')
    with pytest.raises(SystemExit) as caught, explain_end(tmp_path):
        signal.raise_signal(signal.SIGINT)
    assert caught.value.code == 130
    assert capsys.readouterr().err == (
        'Stopped by Ctrl-C. The last checkpoint is runs/iter_4.pth. To go on from it, give the same command with '
        '--resume.\n'
    )


@pytest.mark.parametrize('kind', ['full', 'closed', 'broken pipe'])
def test_output_that_cannot_be_written_does_not_end_a_training(tmp_path, monkeypatch, kind):
    if kind == 'broken pipe':
        reader, writer = os.pipe()
        os.close(reader)
        stream = os.fdopen(writer, 'w', buffering=1)
    else:
        stream = open('/dev/full' if kind == 'full' else tmp_path / 'out', 'w', buffering=1)
        if kind == 'closed':
            stream.close()
    monkeypatch.setattr(sys, 'stdout', stream)
    with explain_end(tmp_path):
        print('as pycocotools does', flush=True)
        reached = True
    assert reached and sys.stdout is stream
    if kind != 'closed':
        with pytest.raises(OSError, match=r'No space|Broken pipe'):
            stream.close()
