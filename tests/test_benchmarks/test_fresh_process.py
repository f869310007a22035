"""Processes that measure: their order, what they are told, what happens when one fails."""

from __future__ import annotations

import sys

import pytest

from benchmarks import fresh_process
from benchmarks.fresh_process import WorkerError, WorkerSettings, alternate_fresh, run_fresh


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Puts a few lines of Python in the place of the interpreter that runs workers."""

    def write(code: str) -> None:
        script = tmp_path / 'python'
        script.write_text(f'#!{sys.executable} -S\nimport json, os, sys, time\n{code}\n')
        script.chmod(0o755)
        monkeypatch.setattr(fresh_process.sys, 'executable', str(script))

    return write


def test_forms_take_turns():
    calls = []
    found = alternate_fresh(['a', 'b'], 3, lambda case: calls.append(case) or dict(call=len(calls)))
    assert calls == ['a', 'b', 'a', 'b', 'a', 'b']
    assert found == dict(a=[dict(call=1), dict(call=3), dict(call=5)], b=[dict(call=2), dict(call=4), dict(call=6)])


def test_a_process_is_told_its_case_and_its_figures_come_back(worker):
    worker(
        "out = sys.argv[sys.argv.index('--out') + 1]\n"
        "json.dump(dict(given=sys.argv[1:], threads=os.environ['OMP_NUM_THREADS']), open(out, 'w'))"
    )
    found = run_fresh('pairs', 'a/b', WorkerSettings('cuda', repeats=7, threads=3))
    place = found['given'].index('--out')
    assert found['given'][:place] == ['-m', 'benchmarks.worker', 'pairs', 'a/b']
    assert found['given'][place + 2 :] == ['--device', 'cuda', '--repeats', '7', '--threads', '3']
    assert found['threads'] == '3'


def test_a_failed_process_is_shown_with_its_last_lines(worker):
    worker("sys.stderr.write('early\\n' * 50 + 'ValueError: no such layer\\n'); sys.exit(3)")
    with pytest.raises(WorkerError, match='Case "a/b" ended with exit code 3') as error:
        run_fresh('pairs', 'a/b', WorkerSettings())
    assert 'benchmarks.worker pairs a/b' in str(error.value)
    assert str(error.value).endswith('ValueError: no such layer')
    assert str(error.value).count('early') == fresh_process.LINES_SHOWN - 1


def test_a_process_without_figures_has_failed(worker):
    worker('sys.exit(0)')
    with pytest.raises(WorkerError, match='exit code 0 and no figures'):
        run_fresh('pairs', 'a/b', WorkerSettings())


def test_a_process_that_hangs_is_given_up(worker):
    worker('time.sleep(60)')
    with pytest.raises(WorkerError, match=r'still ran after 0\.5 seconds\. Raise --time-limit'):
        run_fresh('pairs', 'a/b', WorkerSettings(time_limit=0.5))


@pytest.mark.slow
def test_a_real_worker_times_a_real_case():
    found = run_fresh('pairs', 'fusion_T16_infer/absorbed', WorkerSettings(repeats=2, threads=1))
    assert len(found['seconds']) == 2 and min(found['seconds']) > 0
    assert found['peak_mb'] > 6.5  # the normalised image alone has 6400 x 256 floats
    assert found['checksum'] > 0
    with pytest.raises(WorkerError, match="KeyError: 'nothing/at_all'"):
        run_fresh('pairs', 'nothing/at_all', WorkerSettings())
