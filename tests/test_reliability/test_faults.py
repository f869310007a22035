"""A sample of the campaign (benchmarks/reliability/faults.py): real runs, hurt and resumed, equal to the last bit."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.reliability import fault_kinds as faults
from benchmarks.reliability.fault_bench import Bench, NotSurvivedError, check_files, compare
from benchmarks.reliability.tiny_run import TinyRun, log_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='processes are found in /proc, which is not here'),
]


@pytest.fixture(scope='module')
def bench(tmp_path_factory) -> Bench:
    """Eight steps, a checkpoint every second, evaluations after four and eight; one image is none."""
    return Bench(tmp_path_factory.mktemp('faults'), TinyRun(steps=8, save_every=2, broken_image=True))


def test_a_run_survives_one_fault_after_the_other(bench):
    rng, run = random.Random(0), bench.new_run('hurt')
    faults.killed_while_saving(bench, run, rng, step=3)
    check_files(run)

    assert 'out of memory' in faults.loader_killed(bench, run, rng, step=5)
    bench.seen(run, r'Removed .*iter_4\.pth\.\d+\.tmp, which a killed run left unfinished')
    check_files(run)

    said = faults.limited(bench, run, rng, step=5)
    assert re.search(r'iter_6\.pth could not be written: it needs \d+\.\d MB, .* \(ulimit -f\) is smaller', said)
    assert sorted(path.name for path in run.work_dir.glob('iter_*')) == ['iter_2.pth', 'iter_4.pth']
    check_files(run)

    faults.killed_in_evaluation(bench, run, rng, step=8)
    check_files(run)

    faults.flip_bit(run.work_dir / 'iter_8.pth', rng)
    bench.finish_and_compare(run)
    bench.seen(run, r'Skipped .*iter_8\.pth: its check sums do not fit: .* The run goes on from .*iter_6\.pth')
    assert 'another one takes its place' in log_of(bench.reference(run).work_dir).read_text()


def test_the_comparison_sees_one_bit_and_one_missing_step(bench, tmp_path):
    """What the test above relies on."""
    run = bench.reference(bench.new_run('any'))
    compare(run, run, steps=8)
    with pytest.raises(NotSurvivedError, match=r'Logged values differ or are missing at steps \[9\]'):
        compare(run, run, steps=9)
    other = replace(run, work_dir=tmp_path)
    for log in run.work_dir.glob('*/vis_data/scalars.json'):
        copy = tmp_path / log.relative_to(run.work_dir)
        copy.parent.mkdir(parents=True)
        copy.write_text(log.read_text())
    checkpoint = torch.load(run.work_dir / 'iter_8.pth', weights_only=True)
    checkpoint['ema_state_dict']['module.bbox_head.box.bias'].view(torch.int32)[0] ^= 1
    torch.save(checkpoint, tmp_path / 'iter_8.pth')
    with pytest.raises(NotSurvivedError, match=r'1 values .* differ, such as ema_state_dict\.module\.bbox_head\.box'):
        compare(run, other, steps=8)


@pytest.mark.distributed
def test_two_processes_notice_that_one_is_gone_and_go_on_to_the_same_bits(bench):
    """Started without a launcher, which would end the other one. Also: two runs of two processes are equal."""
    run = bench.new_run('two', ranks=2)
    faults.rank_killed_without_launcher(bench, run, random.Random(0), step=5)
    check_files(run)
    bench.finish_and_compare(run)
