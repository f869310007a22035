"""The kinds of faults. Each starts a run, or goes on with it, hurts it, and returns what the user saw.

``step``: not before this step; by default drawn from ``rng``.
"""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.reliability.fault_bench import (
    END_WITHIN,
    FINISH_WITHIN,
    Bench,
    NotInjectedError,
    NotSurvivedError,
    Run,
    check_files,
    check_no_partial_file,
    kill_family,
    until,
    wait,
)
from benchmarks.reliability.tiny_run import children, family

_ATTEMPTS = 5


@dataclass(frozen=True)
class Fault:
    """What is done, to what kind of run, and how it has to go on."""

    kind: str
    hurt: Callable[[Bench, Run, random.Random], str]
    ranks: int = 1
    launcher: bool = False
    own_data: bool = False
    #: Checkpoints are damaged on purpose.
    damages: bool = False
    #: There is a way on.
    resumes: bool = True
    #: What the resumed run has to say, where the hurt one had no time to.
    resumed: str = ''

    def run(self, bench: Bench, name: str, rng: random.Random) -> str:
        """Hurt, look, resume, compare; what the user saw. Raises NotSurvivedError."""
        run = bench.new_run(name, self.ranks, self.launcher, self.own_data)
        seen = self.hurt(bench, run, rng)
        if not self.damages:
            check_files(run)
        if self.resumes:
            bench.finish_and_compare(run)
        return bench.seen(run, self.resumed) if self.resumed else seen


# ---- kills


def killed_in_training(bench: Bench, run: Run, rng: random.Random, step: int | None = None) -> str:
    process = bench.start_until(run, step or rng.randrange(1, bench.tiny.steps - 1))
    time.sleep(rng.uniform(0, 0.3))
    kill_family(process)
    return ''


def killed_while_saving(bench: Bench, run: Run, rng: random.Random, step: int | None = None) -> str:
    every = bench.tiny.save_every
    for _ in range(_ATTEMPTS):
        process = bench.start_until(run, step or rng.randrange(every, bench.tiny.steps - every))
        until(lambda: any(run.work_dir.glob('*.tmp')), process, pause=0.0005)
        kill_family(process)
        if any(run.work_dir.glob('*.pth.*.tmp')):
            return ''
        if step is None:
            shutil.rmtree(run.work_dir)
    raise NotInjectedError(f'No checkpoint was being written in {_ATTEMPTS} attempts.')


def killed_in_evaluation(bench: Bench, run: Run, rng: random.Random, step: int | None = None) -> str:
    which = step or rng.choice((bench.tiny.steps // 2, bench.tiny.steps))
    process = bench.start_until(run, which)

    def after_the_step() -> str:
        return re.split(rf'Iter\(train\) \[ *{which}/', run.log)[-1]

    until(lambda: 'Iter(val) [1/' in after_the_step(), process, pause=0.005)
    kill_family(process)
    if 'bbox_mAP_copypaste' in after_the_step():
        raise NotInjectedError('The evaluation was over.')
    return ''


def loader_killed(bench: Bench, run: Run, rng: random.Random, step: int | None = None) -> str:
    process = bench.start_until(run, step or rng.randrange(1, bench.tiny.steps - 4))
    os.kill(family(process.pid)[-1], signal.SIGKILL)
    _has_ended(process)
    return bench.seen(run, r'RunEndedError: A process that loads data was ended .*--resume|start again')


def rank_killed(bench: Bench, run: Run, rng: random.Random, step: int | None = None) -> str:
    """Of two, started by tools/dist_train.sh."""
    process = bench.start_until(run, step or rng.randrange(1, bench.tiny.steps - 4))
    ranks = [pid for pid in children(process.pid) if b'tools/train.py' in Path(f'/proc/{pid}/cmdline').read_bytes()]
    os.kill(rng.choice(ranks), signal.SIGKILL)
    _has_ended(process)
    bench.seen(run, r'Signal 9 \(SIGKILL\) received by PID')  # torch names the process
    return bench.seen(run, r'(RunEndedError|told to stop).*(--resume|start again)')


def rank_killed_without_launcher(bench: Bench, run: Run, rng: random.Random, step: int | None = None) -> str:
    """Nobody ends the other one: it has to notice."""
    pair = bench.start_until(run, step or bench.tiny.steps // 2)
    os.kill(pair.processes[1].pid, signal.SIGKILL)
    _has_ended(pair)
    return bench.seen(run, r'RunEndedError: The connection to another process .*--resume')


def _has_ended(process: subprocess.Popen) -> None:
    if wait(process, END_WITHIN) == 0:
        raise NotSurvivedError('The run ended with code 0, as if nothing had happened.')


# ---- files


def limited(bench: Bench, run: Run, rng: random.Random, step: int | None = None) -> str:
    """The largest file that the process may write becomes smaller than a checkpoint, after the first was saved."""
    every = bench.tiny.save_every
    process = bench.start_until(run, step or rng.randrange(every + 1, bench.tiny.steps - every))
    size = next(iter(run.work_dir.glob('iter_*.pth'))).stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size * rng.randrange(1, 9) // 10, -1))
    _has_ended(process)
    check_no_partial_file(run)
    return bench.seen(run, r'DiskFullError: .*could not be written: it needs .*--resume')


def small_disk(bench: Bench, run: Run, rng: random.Random) -> str:
    """A file system of its own with room for the first checkpoints; it grows before the run is resumed."""
    run.work_dir.mkdir(parents=True)
    call = partial(subprocess.run, check=True, timeout=END_WITHIN)
    call(['mount', '-t', 'tmpfs', '-o', f'size={rng.randrange(35, 55)}m', 'tmpfs', str(run.work_dir)])
    try:
        if wait(bench.start(run), FINISH_WITHIN) == 0:
            raise NotInjectedError('There was room for everything.')
        check_no_partial_file(run)
        seen = bench.seen(run, r'DiskFullError: .*could not be written: the disk is full.*--resume')
        call(['mount', '-o', 'remount,size=300m', str(run.work_dir)])
        bench.finish_and_compare(run)
    finally:
        call(['umount', str(run.work_dir)])
    return seen


def truncated(bench: Bench, run: Run, rng: random.Random, step: int | None = None) -> str:
    newest = _newest_of_two(bench, run)
    os.truncate(newest, rng.randrange(newest.stat().st_size))
    return ''


def bit_flipped(bench: Bench, run: Run, rng: random.Random) -> str:
    flip_bit(_newest_of_two(bench, run), rng)
    return ''


def all_damaged(bench: Bench, run: Run, rng: random.Random) -> str:
    _newest_of_two(bench, run)
    for path in run.work_dir.glob('iter_*.pth'):
        flip_bit(path, rng)
    _has_ended(bench.start(run))
    return bench.seen(run, r'CheckpointError: No checkpoint in .* is whole')


def flip_bit(path: Path, rng: random.Random) -> None:
    """One bit of one tensor."""
    with zipfile.ZipFile(path) as archive:
        record = rng.choice([record for record in archive.infolist() if '/data/' in record.filename])
        with archive.open(record):
            start = archive.fp.tell()  # behind the record's own header
    content = bytearray(path.read_bytes())
    content[start + rng.randrange(record.file_size)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _newest_of_two(bench: Bench, run: Run) -> Path:
    """The newest checkpoint of a run that was killed after two."""
    kill_family(bench.start_until(run, 2 * bench.tiny.save_every + 1))
    check_files(run)
    return Path((run.work_dir / 'last_checkpoint').read_text())


# ---- data


def broken_image(bench: Bench, run: Run, rng: random.Random) -> str:
    """An image is none; the run puts others in its place, is killed, and goes on the same way."""
    image = rng.choice(sorted((run.config.parent / 'data/images/train').iterdir()))
    image.write_bytes(image.read_bytes()[: -image.stat().st_size // 2])
    return killed_in_training(bench, run, rng)


def annotations_changed(bench: Bench, run: Run, rng: random.Random) -> str:
    """A line goes: refused. It comes back: the run goes on as if nothing had been."""
    kill_family(bench.start_until(run, bench.tiny.save_every + 1))
    annotations = run.config.parent / 'data/annotations/more_odvg.jsonl'
    content = annotations.read_text()
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    annotations.write_text(''.join(lines))
    _has_ended(bench.start(run))
    seen = bench.seen(run, r'DataChangedError: The training data changed')
    aside = Run(run.work_dir.with_name(f'{run.work_dir.name}_warn'), run.config)
    shutil.copytree(run.work_dir, aside.work_dir)
    bench.finish(aside, '--cfg-options', 'default_hooks.checkpoint.data_changed=warn')
    annotations.write_text(content)
    return seen


def all_faults(kills: int) -> list[Fault]:
    """The campaign: ``kills`` random kills, every fifth of two processes, and some of every other kind."""
    two = kills // 5
    killed = partial(Fault, hurt=killed_in_training, resumed=r'Resumed at step|nothing to resume')
    skipped = dict(damages=True, resumed=r'Skipped .*The run goes on from')
    mounts = 2 if os.geteuid() == 0 and shutil.which('mount') else 0
    others = [
        (3, Fault('killed while saving', killed_while_saving, resumed='which a killed run left unfinished')),
        (3, Fault('killed in evaluation', killed_in_evaluation, resumed='A validation was due at step')),
        (2, Fault('file size limit while saving', limited)),
        (mounts, Fault('disk full while saving', small_disk, resumes=False)),
        (2, Fault('loader killed', loader_killed)),
        (2, Fault('one of two ranks killed', rank_killed, ranks=2, launcher=True)),
        (1, Fault('rank killed without launcher', rank_killed_without_launcher, ranks=2)),
        (3, Fault('checkpoint truncated', truncated, **skipped)),
        (3, Fault('checkpoint with a flipped bit', bit_flipped, **skipped)),
        (1, Fault('all checkpoints damaged', all_damaged, damages=True, resumes=False)),
        (2, Fault('broken image', broken_image, own_data=True, resumed='another one takes its place')),
        (1, Fault('annotations changed', annotations_changed, own_data=True)),
    ]
    return [
        *[killed('killed in training')] * (kills - two),
        *[killed('killed in training, two processes', ranks=2)] * two,
        *(fault for number, fault in others for _ in range(number)),
    ]
