"""The table of an ODinW run."""

from __future__ import annotations

import json

import pytest

from glipv2_mmdet.evaluation.odinw_report import ODinWReport, ODinWResult, read_results

RUN = dict(checkpoint='a.pth', prompts=True)
ONE = ODinWResult('Aquarium', 'test', 63, 0.2, 0.4, 0.1)
TWO = ODinWResult('PascalVOC', 'valid', 3422, 0.6, 0.8, 0.7)


def test_the_mean_is_plain_and_complete_only_with_every_data_set():
    whole = ODinWReport(RUN, ['Aquarium', 'PascalVOC'], [ONE, TWO])
    assert whole.mean() == pytest.approx(0.4) and whole.missing == []
    assert whole.headline() == 'ODinW-2: mean box AP 40.0'
    part = ODinWReport(RUN, ['Aquarium', 'PascalVOC', 'Raccoon'], [ONE, TWO])
    assert part.headline() == (
        'Mean box AP 40.0 over 2 of 3 data sets: not the ODinW-3 figure. Not evaluated: Raccoon.'
    )
    assert ODinWReport(RUN, ['Raccoon'], []).headline().startswith('None of the 1 data sets')


def test_all_three_forms_are_saved_and_read_back(tmp_path):
    report = ODinWReport(RUN, ['Aquarium', 'PascalVOC', 'Raccoon'], [ONE, TWO])
    report.save(tmp_path)
    assert (tmp_path / 'results.csv').read_text().splitlines() == [
        'data_set,split,images,ap,ap50,ap75',
        'Aquarium,test,63,0.2,0.4,0.1',
        'PascalVOC,valid,3422,0.6,0.8,0.7',
    ]
    lines = (tmp_path / 'results.md').read_text().splitlines()
    assert lines[2:5] == [
        '| Aquarium | test | 63 | 20.0 | 40.0 | 10.0 |',
        '| PascalVOC | valid | 3422 | 60.0 | 80.0 | 70.0 |',
        '| mean of 2 | | | 40.0 | 60.0 | 40.0 |',
    ]
    content = json.loads((tmp_path / 'results.json').read_text())
    assert content['mean_ap'] == pytest.approx(0.4) and content['missing'] == ['Raccoon']
    assert content['is_complete'] is False
    assert read_results(tmp_path, RUN) == [ONE, TWO]


def test_results_of_another_run_are_refused(tmp_path):
    assert read_results(tmp_path, RUN) == []
    ODinWReport(RUN, ['Aquarium'], [ONE]).save(tmp_path)
    with pytest.raises(ValueError, match=r"its checkpoint is 'a\.pth', now it is 'b\.pth'\. Choose another --out"):
        read_results(tmp_path, dict(RUN, checkpoint='b.pth'))
