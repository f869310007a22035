"""A short sample of the campaign on extreme numbers; the whole of it: benchmarks/reliability/extreme_numbers.py."""

from __future__ import annotations

import json
from itertools import islice

import pytest
import torch

from benchmarks.reliability import extreme_numbers
from benchmarks.reliability.number_cases import Case, Extreme, loss_cases, model_cases, outcome

EVERY = 9


@pytest.mark.parametrize(('must_be_finite', 'code'), [(False, 0), (True, 1)])
def test_the_program_counts_and_fails_where_a_step_went_wrong(tmp_path, monkeypatch, capsys, must_be_finite, code):
    bad = Case('a bad one', lambda: (Extreme(torch.ones(2), None, lambda x: x.sum() / 0), {}), must_be_finite)
    monkeypatch.setattr(extreme_numbers, 'loss_cases', lambda *_: islice(loss_cases(0, 0), 3))
    monkeypatch.setattr(extreme_numbers, 'model_cases', lambda *_: [bad])
    monkeypatch.setattr(extreme_numbers.logging, 'disable', lambda *_: None)
    monkeypatch.setattr('sys.argv', ['extreme_numbers.py', '--json', str(tmp_path / 'numbers.json')])
    assert extreme_numbers.main() == code
    figures = json.loads((tmp_path / 'numbers.json').read_text())
    assert [figures[f'numbers_{key}'] for key in ('cases', 'finite', 'stopped', 'other')] == [4, 3, 1 - code, code]
    assert ('a bad one: Step 1' in capsys.readouterr().err) == must_be_finite


def test_losses_on_extreme_numbers_are_finite_or_stopped():
    results = {case.name: outcome(case) for case in islice(loss_cases(seed=1, num_random=2), 0, None, EVERY)}
    assert {name: result for name, result in results.items() if result not in ('finite', 'stopped')} == {}
    assert set(results.values()) == {'finite', 'stopped'} and len(results) > 40


def test_detectors_on_extreme_numbers_are_finite_or_stopped():
    results = {case.name: outcome(case) for case in islice(model_cases(seed=1, num_random=0), 41, None, 16)}
    assert {name: result for name, result in results.items() if result not in ('finite', 'stopped')} == {}
    assert len(results) == 5


@pytest.mark.parametrize(
    ('loss', 'expected'),
    [
        (lambda x, part: (x * float('nan')).detach().sum() + x.sum(), 'Step 1, rank 0 of 1: loss is nan'),
        (lambda x, part: x.sum() + part.weight.sum(), "no gradient for ['part.bias']"),
    ],
)
def test_the_campaign_tells_what_is_wrong(loss, expected):
    part = torch.nn.Linear(1, 1, bias='bias' in expected)
    part.weight.requires_grad_('bias' in expected)
    model = Extreme(torch.ones(2), None, lambda x: loss(x, part), part)
    assert outcome(Case('', lambda: (model, {}), must_be_finite=True)).startswith(expected)


def test_the_campaign_sees_weights_that_are_lost(monkeypatch):
    monkeypatch.setattr('benchmarks.reliability.number_cases.StopOnNonFiniteHook.before_train', lambda *_: None)
    case = Case('', lambda: (Extreme(torch.ones(2), None, lambda x: (x * float('inf')).sum()), {}), False)
    assert outcome(case).startswith('went on with losses')
