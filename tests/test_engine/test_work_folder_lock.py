"""One run per work folder: who is refused, and what of a killed run is taken over."""

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from glipv2_mmdet.engine.work_folder_lock import OWNER_FILE, FolderInUseError, hold_folder

FORK = multiprocessing.get_context('fork')


def _hold(folder, pipe, forks):
    with hold_folder(folder):
        loader = os.fork() if forks else None  # as a process that loads data
        if loader != 0:
            pipe.send(loader)
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """Starts another process that holds ``tmp_path``; ends what it started."""
    started = []

    def start(forks=False):
        here, there = FORK.Pipe()
        process = FORK.Process(target=_hold, args=(tmp_path, there, forks))
        process.start()
        started.append(process)
        return process, here.recv()

    yield start
    for process in started:
        process.kill()
        process.join()


def test_a_second_run_is_refused_with_process_and_host_and_touches_nothing(tmp_path, holder):
    process, _ = holder()
    unfinished = tmp_path / f'iter_4.pth.{process.pid}.tmp'
    unfinished.write_bytes(b'half')
    before = (tmp_path / OWNER_FILE).read_bytes()
    with (
        pytest.raises(
            FolderInUseError,
            match=rf'{tmp_path} is in use by process {process.pid} on host {socket.gethostname()}, started 2.*'
            'or give another folder with --work-dir',
        ),
        hold_folder(tmp_path),
    ):
        pass
    assert unfinished.read_bytes() == b'half' and (tmp_path / OWNER_FILE).read_bytes() == before


def test_the_folder_of_a_killed_run_is_free_at_once(tmp_path, holder):
    process, _ = holder()
    process.kill()
    process.join()
    assert json.loads((tmp_path / OWNER_FILE).read_text())['pid'] == process.pid
    with hold_folder(tmp_path):
        assert json.loads((tmp_path / OWNER_FILE).read_text())['pid'] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_loader_that_outlives_its_killed_run_does_not_keep_the_folder(tmp_path, holder):
    process, loader = holder(forks=True)
    process.kill()
    process.join()
    try:
        with hold_folder(tmp_path):
            os.kill(loader, 0)  # it lives
    finally:
        os.kill(loader, signal.SIGKILL)


def test_an_error_frees_the_folder(tmp_path):
    with pytest.raises(KeyError), hold_folder(tmp_path):
        raise KeyError
    with hold_folder(tmp_path):
        pass


def test_the_same_process_is_refused_as_well(tmp_path):
    with hold_folder(tmp_path), pytest.raises(FolderInUseError, match=f'process {os.getpid()}'), hold_folder(tmp_path):
        pass


@pytest.mark.parametrize(('launcher', 'variable'), [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID')])
def test_the_other_processes_of_a_run_share_its_folder(tmp_path, holder, monkeypatch, launcher, variable):
    holder()
    monkeypatch.setenv(variable, '1')
    with hold_folder(tmp_path, launcher):
        pass
    monkeypatch.setenv(variable, '0')
    with pytest.raises(FolderInUseError), hold_folder(tmp_path, launcher):
        pass


def write_owner_elsewhere(folder) -> Path:
    """As a run on another machine leaves it, whose locks are not seen here."""
    path = folder / OWNER_FILE
    path.write_text(json.dumps(dict(host='gpu7', pid=1, started='today', command='tools/train.py \x1b[2J')))
    return path


def test_a_run_of_another_machine_that_renews_its_stamp_is_alive(tmp_path):
    path = write_owner_elsewhere(tmp_path)
    stop = threading.Event()

    def renew():
        while not stop.wait(0.05):
            os.utime(path)

    renewal = threading.Thread(target=renew)
    renewal.start()
    try:
        with (
            pytest.raises(
                FolderInUseError, match=r'process 1 on host gpu7, started today \(tools/train.py \\x1b\[2J\)'
            ),
            hold_folder(tmp_path, silent_seconds=5),
        ):
            pass
    finally:
        stop.set()
        renewal.join()


def test_a_run_of_another_machine_that_is_silent_is_over(tmp_path):
    path = write_owner_elsewhere(tmp_path)
    start = time.monotonic()
    with hold_folder(tmp_path, silent_seconds=0.4):
        assert json.loads(path.read_text())['pid'] == os.getpid()
    assert time.monotonic() - start >= 0.3
    path = write_owner_elsewhere(tmp_path)
    os.utime(path, (1000, 1000))  # long ago: nobody waits
    start = time.monotonic()
    with hold_folder(tmp_path):
        pass
    assert time.monotonic() - start < 5


def test_the_owner_renews_its_stamp(tmp_path):
    with hold_folder(tmp_path, renew_seconds=0.05):
        os.utime(tmp_path / OWNER_FILE, (1000, 1000))
        deadline = time.monotonic() + 10
        while (tmp_path / OWNER_FILE).stat().st_mtime == 1000 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (tmp_path / OWNER_FILE).stat().st_mtime > 1000


@pytest.mark.parametrize('content', [b'', b'\x80\x81', b'[1]', b'{"host": "x"'])
def test_a_file_without_an_owner_keeps_nobody_out(tmp_path, content):
    (tmp_path / OWNER_FILE).write_bytes(content)
    with hold_folder(tmp_path):
        pass


def _hold_briefly(folder, counts):
    for _ in range(20):
        try:
            with hold_folder(folder):
                inside = Path(folder) / 'inside'
                inside.mkdir()  # fails where another process is in here
                inside.rmdir()
                counts.put('held')
        except FolderInUseError:
            counts.put('refused')


def test_of_several_that_start_at_once_one_holds_the_folder(tmp_path):
    counts = FORK.SimpleQueue()
    processes = [FORK.Process(target=_hold_briefly, args=(str(tmp_path), counts)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    results = {counts.get() for _ in range(60)}
    assert 'held' in results
