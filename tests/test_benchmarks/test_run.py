"""benchmarks/run.py: figures, tables and files; failures do not stop a suite."""

from __future__ import annotations

import importlib
import json

import pytest
import torch

from benchmarks import model_cases, pairs, run
from benchmarks.fresh_process import WorkerError, WorkerSettings
from benchmarks.model_cases import ModelCase, all_cases
from benchmarks.pairs import CASES, Case, pairs_of
from benchmarks.worker import SUITES

CPU = torch.device('cpu')
PAIR = tuple(Case('twice', form, 'what it is', lambda device: None) for form in ('ours', 'other'))


def smoke(*arguments: object, precisions: tuple[str, ...] = ('bf16',)) -> list[str]:
    """The GPU suite as it is tried out without one."""
    return [
        '--suite',
        'gpu',
        '--device',
        'cpu',
        '--models',
        'nano',
        '--batches',
        '1',
        '--size',
        '64',
        '96',
        '--repeats',
        '1',
        '--threads',
        '1',
        '--precisions',
        *precisions,
        *map(str, arguments),
    ]


def measured(*seconds: float, peak_mb: float = 10.0, checksum: float | None = 1.0) -> dict:
    return dict(seconds=list(seconds), peak_mb=peak_mb, checksum=checksum)


def in_this_process(suite: str, case: str, settings: WorkerSettings) -> dict:
    """What a fresh process would do, without one."""
    torch.manual_seed(0)
    return importlib.import_module(SUITES[suite]).measure_case(case, settings)


def separators_of(table: str) -> set[int]:
    return {line.count(' | ') for line in table.splitlines() if line.startswith('|')}


def test_figures_of_a_pair():
    found = run.pair_figures(
        PAIR,
        {
            'twice/ours': [measured(0.001, 0.002, 0.009), measured(0.004)],
            'twice/other': [measured(0.006, peak_mb=25), measured(0.008, peak_mb=25)],
        },
    )
    assert found == dict(
        ours_ms=3.0,
        ours_ms_spread=[2.0, 4.0],
        ours_peak_mb=10.0,
        other_ms=7.0,
        other_ms_spread=[6.0, 8.0],
        other_peak_mb=25.0,
        time_ratio=2.5,
        time_ratio_spread=[2.0, 3.0],
        memory_ratio=2.5,
    )


def test_forms_that_compute_something_else_are_no_race():
    found = run.pair_figures(
        PAIR, {'twice/ours': [measured(1, checksum=2.0)], 'twice/other': [measured(1, checksum=2.01)]}
    )
    assert found == dict(error='The forms of twice computed different numbers: [2.0, 2.01].')


def test_every_pair_has_two_forms_and_every_case_its_name():
    assert len(pairs_of(CASES)) * 2 == len(CASES)
    assert all(
        first.what == second.what and first.on_gpu == second.on_gpu for first, second in pairs_of(CASES).values()
    )


def test_the_gpu_suite_covers_models_batches_precisions_and_prompts():
    cases = all_cases(['t', 'b', 'h'], [1, 8], ['bf16', 'fp32'], 800, 1333)
    assert len({case.name for case in cases}) == len(cases) == 3 * 2 * 2 * 2 + 3 * 2 + 3 * 2
    assert [case.batch for case in cases if case.task == 'train'] == [2, 2, 1, 1, 1, 1]
    assert all(ModelCase.from_text(case.text) == case for case in cases)


@pytest.mark.parametrize(
    'make',
    [
        lambda first: pairs.convolve(False, first, CPU, channels=4, height=5, width=6),
        lambda first: pairs.convolve(True, first, CPU, channels=4, height=5, width=6),
        lambda first: pairs.fuse(7, False, not first, CPU, num_positions=50),
        lambda first: pairs.make_masks(False, not first, CPU, num_boxes=3, num_words=9),
    ],
)
def test_both_forms_compute_the_same(make):
    results = []
    for first in (True, False):
        torch.manual_seed(0)
        results.append(make(first)())
    assert results[0].abs().max() > 0.01
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_tables_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(run, 'CASES', {case.name: case for case in PAIR})
    monkeypatch.setattr(run, 'run_fresh', lambda suite, case, settings: measured(0.002 if 'ours' in case else 0.003))
    file = tmp_path / 'figures.json'
    assert run.main(['--suite', 'cpu', '--json', str(file), '--rounds', '2']) == 0
    figures = json.loads(file.read_text())
    assert figures['cpu_twice_time_ratio'] == 1.5
    assert {'run_machine', 'run_torch', 'run_date', 'run_command', 'run_device', 'run_rounds'} <= set(figures)
    table = file.with_suffix('.md').read_text()
    assert '| what it is | ours | 2.0 (2.0 to 2.0) | other | 3.0 (3.0 to 3.0) | 1.50 (1.50 to 1.50) | 10 |' in table
    assert separators_of(table) == {8}


def test_what_fails_is_recorded_and_the_suite_goes_on(tmp_path, monkeypatch, capsys):
    def fresh(suite: str, case: str, settings: WorkerSettings) -> dict:
        if suite == 'pairs':
            raise WorkerError('Case "x" ended with exit code 9')
        if 'kernels' in case:
            return dict(kernels=[dict(name='gemm', ms=1.0, calls=2, percent=100.0)])
        return dict(error='out of memory') if 'bf16' in case else measured(0.5, 0.25, 0.2)

    monkeypatch.setattr(run, 'CASES', {c.name: c for c in (Case('twice', f, 'w', None, on_gpu=True) for f in 'ab')})
    monkeypatch.setattr(run, 'run_fresh', fresh)
    file = tmp_path / 'figures.json'
    assert run.main(smoke('--json', file, precisions=('bf16', 'fp32'))) == 1
    figures = json.loads(file.read_text())
    assert figures['gpu_infer_nano_b1_bf16_classes_error'] == 'out of memory'
    assert figures['gpu_infer_nano_b1_fp32_classes_images_per_second'] == 4.0
    assert figures['gpu_infer_nano_b1_fp32_classes_images_per_second_spread'] == [2.0, 5.0]
    assert figures['gpu_train_nano_b2_fp32_classes_images_per_second'] == 8.0
    table = file.with_suffix('.md').read_text()
    assert '| nano | 1 | bf16 | classes | out of memory |  |' in table and 'failed, see the JSON file' in table
    errors = capsys.readouterr().err
    assert 'twice failed:' in errors and 'bf16_classes failed' not in errors


def test_out_of_memory_is_an_answer(monkeypatch):
    def too_large(case, device):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')

    monkeypatch.setattr(model_cases, 'inference', too_large)
    case = ModelCase('infer', 'h', 8, 'fp32')
    assert model_cases.measure_case(case.text, WorkerSettings()) == dict(error='out of memory')


def test_a_wrong_case_and_a_missing_gpu_say_what_to_do(monkeypatch):
    with pytest.raises(SystemExit, match='--list names all'):
        run.main(['--suite', 'cpu', '--cases', 'nothing*'])
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit, match='--device cpu --models nano'):
        run.main(['--suite', 'gpu'])


@pytest.mark.slow
def test_every_task_of_the_gpu_suite_runs_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(run, 'run_fresh', in_this_process)
    monkeypatch.setattr(model_cases, 'WARMUP', 1)
    file = tmp_path / 'figures.json'
    assert run.main(smoke('--cases', '*nano*bf16*', '--json', file)) == 0
    figures = json.loads(file.read_text())
    for name in ('infer_nano_b1_bf16_classes', 'infer_nano_b1_bf16_caption', 'train_nano_b2_bf16_classes'):
        assert figures[f'gpu_{name}_images_per_second'] > 0 and figures[f'gpu_{name}_peak_gb'] > 0
    for task, batch in (('infer', 1), ('train', 2)):
        kernels = figures[f'gpu_{task}_kernels_nano_b{batch}_bf16_classes_kernels']
        assert len(kernels) == model_cases.NUM_KERNELS
        assert [kernel['ms'] for kernel in kernels] == sorted((kernel['ms'] for kernel in kernels), reverse=True)
        assert 0 < sum(kernel['percent'] for kernel in kernels) <= 100.1
    assert file.with_suffix('.md').read_text().count('Longest kernels') == 2
