"""The kinds of faults: each starts a run, hurts it, looks at what it says, resumes it and compares the result."""
from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.reliability.tiny_run import (
    Starter,
    TinyRun,
    family,
    free_port,
    last_step,
    log_of,
    logged,
    make_tiny_run,
    unequal_weights,
)
from glipv2_mmdet.engine.whole_checkpoints import find_damage

#: A run that a fault ends must be over after this, in seconds.
END_WITHIN = 60
FINISH_WITHIN = 400
_ATTEMPTS = 5
_ERROR = re.compile(r'^(?:\w+\.)*\w*(?:Error|TooManyFailures): .+')


class NotSurvivedError(AssertionError):
    """What was wrong afterwards."""


class NotInjectedError(NotSurvivedError):
    """The moment was missed."""
    injected = False


@dataclass(frozen=True)
class Fault:
    """``run(bench, work_dir, rng)`` returns what the user saw, or raises."""
    kind: str
    run: Callable[[Bench, Path, random.Random], str]


class Bench:
    """The tiny run, its uninterrupted results, and how runs are started, waited for and judged."""

    def __init__(self, folder: Path, run: TinyRun | None = None) -> None:
        self.folder = folder
        self.tiny = run or TinyRun()
        self.config = make_tiny_run(folder / 'tiny', self.tiny)
        self.starter = Starter()
        self._references: dict[tuple[Path, int], Path] = {}
        self._lock = threading.RLock()

    # ---- runs

    def start(self, work_dir: Path, ranks: int = 1, *more: str, config: Path | None = None) -> Any:
        config = config or self.config
        return (self.starter.train if ranks == 1 else self.starter.launch)(config, work_dir, *more)

    def finish(self, process: Any, work_dir: Path) -> None:
        if wait(process, FINISH_WITHIN):
            raise NotSurvivedError(f'A run that should succeed failed: {self.seen(work_dir)}')

    def reference(self, ranks: int = 1, config: Path | None = None) -> Path:
        """Work folder of an uninterrupted run, made once."""
        key = config or self.config, ranks
        with self._lock:
            if key not in self._references:
                work_dir = self.folder / f'reference_{key[0].parent.name}_{ranks}'
                self.finish(self.start(work_dir, ranks, config=key[0]), work_dir)
                self._references[key] = work_dir
        return self._references[key]

    def resume_and_compare(self, work_dir: Path, ranks: int = 1, *more: str, config: Path | None = None) -> None:
        self.check_files(work_dir)
        self.finish(self.start(work_dir, ranks, '--resume', *more, config=config), work_dir)
        compare(self.reference(ranks, config), work_dir, self.tiny.steps)
        self.check_files(work_dir)
        leftovers = list(work_dir.glob('*.tmp'))
        if leftovers:
            raise NotSurvivedError(f'Temporary files stayed: {leftovers}')

    def check_files(self, work_dir: Path) -> None:
        """Every checkpoint with a final name is whole."""
        for path in work_dir.glob('*.pth'):
            damage = find_damage(path)
            if damage:
                raise NotSurvivedError(f'{path.name} is damaged: {damage}')

    def seen(self, work_dir: Path, pattern: str | None = None) -> str:
        """The message of the last error in the log, or the last line that has the pattern."""
        lines = log_of(work_dir).read_text(errors='replace').splitlines()
        found = [line for line in lines if (re.search(pattern, line) if pattern else _ERROR.match(line))]
        if not found:
            raise NotSurvivedError(f'Nothing in the log says what happened ({pattern or "no error"}).')
        return re.sub(rf'{re.escape(str(self.folder))}/?', '', found[-1]).partition(' - ')[2].partition(' - ')[2] \
            if ' - mmengine - ' in found[-1] else re.sub(rf'{re.escape(str(self.folder))}/?', '', found[-1])

    def run_until(self, work_dir: Path, step: int, ranks: int = 1, config: Path | None = None) -> Any:
        """A run that has logged this step."""
        process = self.start(work_dir, ranks, config=config)
        until(lambda: last_step(work_dir) >= step, process)
        return process

    def interrupted(self, work_dir: Path, step: int, config: Path | None = None) -> None:
        """A run that was killed after this step."""
        kill_family(self.run_until(work_dir, step, config=config))


def pid_and_code(process: Any) -> tuple[int, int | None]:
    return process.pid, process.poll() if hasattr(process, 'poll') else process.exitcode


def until(happened: Callable[[], bool], process: Any, pause: float = 0.02) -> None:
    end = time.monotonic() + FINISH_WITHIN
    while not happened():
        if pid_and_code(process)[1] is not None or time.monotonic() > end:
            raise NotInjectedError('The run was over before its moment came.')
        time.sleep(pause)


def wait(process: Any, seconds: float) -> int:
    """Exit code. Raises NotSurvivedError, after killing it, when the run is not over in time."""
    end = time.monotonic() + seconds
    while pid_and_code(process)[1] is None:
        if time.monotonic() > end:
            kill_family(process)
            raise NotSurvivedError(f'The run was not over after {seconds:.0f} seconds.')
        time.sleep(0.02)
    return pid_and_code(process)[1]


def kill_family(process: Any) -> None:
    for pid in family(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait(process, END_WITHIN)


def compare(reference: Path, work_dir: Path, steps: int) -> None:
    expected, found = logged(reference), logged(work_dir)
    if expected != found or len(expected) != steps:
        unequal = [step for step in range(1, steps + 1) if expected.get(step) != found.get(step)]
        raise NotSurvivedError(f'Logged values differ or are missing at steps {unequal}.')
    name = f'iter_{steps}.pth'
    unequal = unequal_weights(reference / name, work_dir / name)
    if unequal:
        raise NotSurvivedError(f'{len(unequal)} values of the final checkpoint differ, such as {unequal[0]}.')


# ---- kills


def killed_in_training(bench: Bench, work_dir: Path, rng: random.Random, ranks: int = 1) -> str:
    process = bench.run_until(work_dir, rng.randrange(1, bench.tiny.steps - 1), ranks)
    time.sleep(rng.uniform(0, 0.3))
    kill_family(process)
    bench.resume_and_compare(work_dir, ranks)
    return bench.seen(work_dir, r'(?i)resumed at step|nothing to resume')


def killed_while_saving(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    for _ in range(_ATTEMPTS):
        every = bench.tiny.save_every
        process = bench.run_until(work_dir, rng.randrange(every, bench.tiny.steps - every))
        until(lambda: any(work_dir.glob('*.tmp')), process, pause=0.0005)
        kill_family(process)
        if any(work_dir.glob('*.pth.*.tmp')):
            bench.resume_and_compare(work_dir)
            return bench.seen(work_dir, r'which a killed run left unfinished')
        shutil.rmtree(work_dir)
    raise NotInjectedError(f'No checkpoint was being written in {_ATTEMPTS} attempts.')


def killed_in_evaluation(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    which = rng.choice((bench.tiny.steps // 2, bench.tiny.steps))
    process = bench.run_until(work_dir, which)
    log = log_of(work_dir)
    until(lambda: 'Iter(val) [1/' in log.read_text().rpartition(f'Iter(train) [{which:2d}/')[2], process, pause=0.005)
    kill_family(process)
    if 'bbox_mAP_copypaste' in log.read_text().rpartition(f'Iter(train) [{which:2d}/')[2]:
        raise NotInjectedError('The evaluation was over.')
    bench.resume_and_compare(work_dir)
    return bench.seen(work_dir, 'A validation was due at step')


def loader_killed(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    process = bench.run_until(work_dir, rng.randrange(1, bench.tiny.steps - 4))
    loader = [pid for pid in family(process.pid) if pid != process.pid][-1]
    os.kill(loader, signal.SIGKILL)
    return _ended_then_resumed(bench, process, work_dir, r'^\S*RunEndedError: A process that loads data was ended')


def rank_killed(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    """Of two, by tools/dist_train.sh."""
    process = bench.run_until(work_dir, rng.randrange(1, bench.tiny.steps - 4), ranks=2)
    os.kill(_ranks(process.pid)[rng.randrange(2)], signal.SIGKILL)
    return _ended_then_resumed(bench, process, work_dir, 'To go on from it|No checkpoint was saved yet', ranks=2)


def rank_killed_without_launcher(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    """Nobody ends the other one: it has to notice."""
    port = free_port()
    processes = [bench.starter.train(bench.config, work_dir, rank=rank, port=port) for rank in range(2)]
    until(lambda: last_step(work_dir) >= bench.tiny.steps // 2, processes[0])
    os.kill(processes[1].pid, signal.SIGKILL)
    return _ended_then_resumed(
        bench, processes[0], work_dir, r'RunEndedError: The connection to another process', ranks=0)


def _ended_then_resumed(bench: Bench, process: Any, work_dir: Path, pattern: str, ranks: int = 1) -> str:
    if wait(process, END_WITHIN) == 0:
        raise NotSurvivedError('The run ended with code 0, as if nothing had happened.')
    seen = bench.seen(work_dir, pattern)
    if ranks:
        bench.resume_and_compare(work_dir, ranks)
    return seen


def _ranks(launcher: int) -> list[int]:
    return [pid for pid in family(launcher) if b'LOCAL_RANK=' in Path(f'/proc/{pid}/environ').read_bytes()
            and b'tools/train.py' in Path(f'/proc/{pid}/cmdline').read_bytes()
            and Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1] == str(launcher)]


# ---- files


def limited(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    """The largest file that the process may write is made smaller than a checkpoint, after the first was saved."""
    every = bench.tiny.save_every
    process = bench.run_until(work_dir, rng.randrange(every + 1, bench.tiny.steps - every))
    size = next(iter(work_dir.glob('iter_*.pth'))).stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size * rng.randrange(1, 9) // 10, -1))
    seen = _ended_then_resumed(bench, process, work_dir, r'^\S*DiskFullError: .*could not be written', ranks=0)
    if any(work_dir.glob('*.tmp')):
        raise NotSurvivedError('A partial file stayed.')
    bench.resume_and_compare(work_dir)
    return seen


def small_disk(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    """A file system of its own with room for the first checkpoints; it grows before the run is resumed."""
    work_dir.mkdir(parents=True)
    mount = partial(subprocess.run, check=True, timeout=END_WITHIN)
    mount(['mount', '-t', 'tmpfs', '-o', f'size={rng.randrange(35, 55)}m', 'tmpfs', str(work_dir)])
    try:
        process = bench.start(work_dir)
        until(lambda: last_step(work_dir) > 0, process)
        if wait(process, FINISH_WITHIN) == 0:
            raise NotInjectedError('There was room for everything.')
        seen = bench.seen(work_dir, r'^\S*DiskFullError: .*could not be written: the disk is full')
        if any(work_dir.glob('*.tmp')):
            raise NotSurvivedError('A partial file stayed.')
        mount(['mount', '-o', 'remount,size=300m', str(work_dir)])
        bench.resume_and_compare(work_dir)
    finally:
        mount(['umount', str(work_dir)])
    return seen


def truncated(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    bench.interrupted(work_dir, 2 * bench.tiny.save_every + 1)
    newest = _newest(work_dir)
    os.truncate(newest, rng.randrange(newest.stat().st_size))
    return _skipped_then_resumed(bench, work_dir, newest)


def bit_flipped(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    bench.interrupted(work_dir, 2 * bench.tiny.save_every + 1)
    newest = _newest(work_dir)
    flip_bit(newest, rng)
    return _skipped_then_resumed(bench, work_dir, newest)


def all_damaged(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    bench.interrupted(work_dir, 2 * bench.tiny.save_every + 1)
    for path in work_dir.glob('iter_*.pth'):
        flip_bit(path, rng)
    if wait(bench.start(work_dir, 1, '--resume'), END_WITHIN) == 0:
        raise NotSurvivedError('The run started from damaged checkpoints.')
    return bench.seen(work_dir, r'CheckpointError: No checkpoint in .* is whole')


def flip_bit(path: Path, rng: random.Random) -> None:
    """One bit of one record of the archive."""
    with zipfile.ZipFile(path) as archive:
        record = rng.choice([record for record in archive.infolist() if record.file_size > 1000])
        with archive.open(record):
            start = archive.fp.tell()  # behind the record's own header
    content = bytearray(path.read_bytes())
    content[start + rng.randrange(record.file_size)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _newest(work_dir: Path) -> Path:
    return Path((work_dir / 'last_checkpoint').read_text())


def _skipped_then_resumed(bench: Bench, work_dir: Path, damaged: Path) -> str:
    bench.finish(bench.start(work_dir, 1, '--resume'), work_dir)
    compare(bench.reference(), work_dir, bench.tiny.steps)
    bench.check_files(work_dir)  # the damaged one was written again
    return bench.seen(work_dir, rf'Skipped .*{damaged.name}')


# ---- data


def broken_image(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    """An image is no image; the run replaces its samples, is killed, and goes on the same way."""
    config = make_tiny_run(bench.folder / f'data_{work_dir.name}', bench.tiny)
    image = rng.choice(sorted((config.parent / 'data/images/train').iterdir()))
    content = image.read_bytes()
    image.write_bytes(content[:len(content) // 3])
    bench.interrupted(work_dir, rng.randrange(2, bench.tiny.steps - 2), config=config)
    bench.resume_and_compare(work_dir, config=config)
    return bench.seen(work_dir, 'failed to load .*another one takes its place')


def annotations_changed(bench: Bench, work_dir: Path, rng: random.Random) -> str:
    """A line goes: refused. It comes back: the run goes on as if nothing had been."""
    config = make_tiny_run(bench.folder / f'data_{work_dir.name}', bench.tiny)
    bench.interrupted(work_dir, bench.tiny.save_every + 1, config=config)
    annotations = config.parent / 'data/annotations/more_odvg.jsonl'
    content = annotations.read_text()
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    annotations.write_text(''.join(lines))
    if wait(bench.start(work_dir, 1, '--resume', config=config), END_WITHIN) == 0:
        raise NotSurvivedError('The run went on with other data.')
    seen = bench.seen(work_dir, r'DataChangedError: The training data changed')
    aside = work_dir.with_name(f'{work_dir.name}_warn')
    shutil.copytree(work_dir, aside)
    bench.finish(bench.start(aside, 1, '--resume', '--cfg-options', 'default_hooks.checkpoint.data_changed=warn',
                             config=config), aside)
    annotations.write_text(content)
    bench.resume_and_compare(work_dir, config=config)
    return seen


def all_faults(kills: int) -> list[Fault]:
    """The campaign: ``kills`` random kills (every fifth of two processes), and some of every other kind."""
    two = kills // 5
    mounts = 2 if os.geteuid() == 0 and shutil.which('mount') else 0
    others = [
        (3, 'killed while saving', killed_while_saving), (3, 'killed in evaluation', killed_in_evaluation),
        (2, 'file size limit while saving', limited),
        (mounts, 'disk full while saving', small_disk), (2, 'loader killed', loader_killed),
        (2, 'one of two ranks killed', rank_killed), (1, 'rank killed without launcher', rank_killed_without_launcher),
        (3, 'checkpoint truncated', truncated), (3, 'checkpoint with a flipped bit', bit_flipped),
        (1, 'all checkpoints damaged', all_damaged), (2, 'broken image', broken_image),
        (1, 'annotations changed', annotations_changed)]
    return [
        *[Fault('killed in training', killed_in_training)] * (kills - two),
        *[Fault('killed in training, two processes', partial(killed_in_training, ranks=2))] * two,
        *(Fault(kind, run) for number, kind, run in others for _ in range(number))]
