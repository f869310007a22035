"""benchmarks/scaling.py: exponents, what L_inter sends, rows of an axis, the picture."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from benchmarks import scaling
from benchmarks.fresh_process import WorkerSettings
from benchmarks.inter_exchange import Exchange, gradient_bytes
from benchmarks.scaling_axes import AXES, case_text, measure_case
from benchmarks.scaling_plot import draw
from glipv2_mmdet.models.losses import inter_image_contrast
from tests.test_models.test_pretraining_losses import detector_with, samples


def power_law(axis: str, values: list[int], time_power: float, memory_power: float) -> list[dict]:
    return [
        dict(axis=axis, value=value, seconds=value**time_power, peak_mb=5 * value**memory_power) for value in values
    ]


def test_exponents_of_known_growth():
    rows = power_law('words', [1, 2, 4, 8], 1.0, 0.5) + power_law('image_size', [32, 64], 2.0, 0.0)
    rows[0]['seconds'] = 4.0  # a fixed cost at the small end
    exponents = scaling.exponents_of(rows)
    assert exponents['words']['seconds'] < 0.5 and exponents['words']['seconds_last'] == 1.0
    assert exponents['words']['peak_mb'] == exponents['words']['peak_mb_last'] == 0.5
    assert exponents['image_size'] == dict(seconds=2.0, seconds_last=2.0, peak_mb=0.0, peak_mb_last=0.0)


def test_the_estimate_counts_what_the_loss_hands_over(monkeypatch):
    sent, counted = [], []
    gather, exchange = inter_image_contrast.gather_rows, inter_image_contrast.exchange_counts
    monkeypatch.setattr(
        inter_image_contrast, 'gather_rows', lambda rows, num_rows: sent.append(rows) or gather(rows, num_rows)
    )
    monkeypatch.setattr(
        inter_image_contrast,
        'exchange_counts',
        lambda counts, device: counted.append(counts) or exchange(counts, device),
    )
    torch.manual_seed(3)
    detector_with(inter=True).loss(torch.randn(2, 3, 64, 64), samples())
    (counts,) = counted
    estimate = Exchange(ranks=2, images=1, regions=counts[0], words=counts[1])
    assert sum(rows.numel() * rows.element_size() for rows in sent) + len(counts) * 8 == estimate.forward_bytes
    learning = [rows for rows in sent if rows.requires_grad]
    assert sum(rows.numel() * rows.element_size() for rows in learning) == estimate.backward_bytes


def test_the_estimate_of_the_papers_training():
    exchange = Exchange(ranks=32, images=2)
    assert exchange.rows == 2 * (100 + 256)
    assert exchange.bytes == 31 * (712 * (64 * 4 * 2 + 8) + 24)
    assert exchange.figures() == dict(ranks=32, images=2, mb_sent=11.48, logits_mb=26.21) | {
        'ms_100 GbE': 0.918,
        'ms_NVLink': 0.038,
    }
    assert gradient_bytes(1000, 32) == round(2 * 31 / 32 * 4000)


def test_tables_and_json(tmp_path, monkeypatch):
    def fresh(suite: str, text: str, settings: WorkerSettings) -> dict:
        case = json.loads(text)
        return dict(rows=power_law(case['axis'], case['values'], 1.0, 1.0))

    monkeypatch.setattr(scaling, 'run_fresh', fresh)
    monkeypatch.setattr(scaling, 'num_parameters', lambda scale: 10**6)
    file, picture = tmp_path / 'scaling.json', tmp_path / 'images' / 'scaling.png'
    assert scaling.main(['--json', str(file), '--plot', str(picture)]) == 0
    figures = json.loads(file.read_text())
    assert list(figures['exponents']) == list(AXES)
    assert set(figures['rows'][0]) == {'axis', 'value', 'seconds', 'peak_mb'}
    assert all(found['seconds'] == 1.0 for found in figures['exponents'].values())
    assert [found['ranks'] for found in figures['exchange']] == [8, 32, 64]
    assert figures['exchange'][0]['gradients_mb'] == 7
    with Image.open(picture) as image:
        assert image.format == 'PNG' and image.width > 1000


def test_an_axis_of_two_points_is_not_drawn(tmp_path):
    rows, widths = power_law('words', [1, 2, 4], 1, 1), []
    for axis in ('ranks', 'batch'):
        more = power_law(axis, [1, 2, 4][: 2 if axis == 'ranks' else 3], 1, 1)
        draw(rows + more, {name: axis.unit for name, axis in AXES.items()}, tmp_path / 'a.png')
        with Image.open(tmp_path / 'a.png') as image:
            widths.append(image.width)
    assert widths[0] < widths[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('axis', 'values'),
    [('words', [2, 9]), ('image_size', [64, 96]), ('classes', [2, 120]), ('batch', [1, 2]), ('boxes', [1, 5])],
)
def test_every_axis_runs(axis, values):
    rows = measure_case(case_text(AXES[axis], 'nano', values), WorkerSettings(repeats=1, threads=1))['rows']
    assert [(row['axis'], row['value']) for row in rows] == [(axis, value) for value in values]
    assert all(row['seconds'] > 0 for row in rows)
    assert 0 < rows[0]['peak_mb'] <= rows[1]['peak_mb'] * 1.05  # more of anything never takes clearly less


@pytest.mark.slow
@pytest.mark.distributed
def test_ranks_train_together():
    rows = measure_case(case_text(AXES['ranks'], 'nano'), WorkerSettings(repeats=1, threads=1))['rows']
    assert [row['value'] for row in rows] == [1, 2]
    assert all(row['seconds'] > 0 and row['peak_mb'] > 1 for row in rows)
