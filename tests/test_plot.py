"""tools/plot.py: what is drawn, from which files."""

from __future__ import annotations

import json

import pytest
from matplotlib import pyplot as plt
from PIL import Image

from tools import plot


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close('all')


def write_run(folder, stamps):
    for stamp, entries in stamps.items():
        file = folder / stamp / 'vis_data/scalars.json'
        file.parent.mkdir(parents=True)
        file.write_text(''.join(json.dumps(entry) + '\n' for entry in entries))
    return folder


def test_curves_of_a_resumed_run_go_on_where_they_were(tmp_path):
    run = write_run(
        tmp_path / 'run',
        {
            'first': [dict(step=1, loss=3.0, loss_cls=1.0, lr=0.1), dict(step=2, loss=9.0)],
            'second': [dict(step=2, loss=2.0), dict(step=3, loss=1.0), {'coco/bbox_mAP': 0.5, 'step': 0}],
        },
    )
    other = write_run(tmp_path / 'other', {'only': [dict(step=4, loss=8.0)]})
    figure = plot.plot_curves([run, other])
    first, second = figure.axes[:2]
    assert [axis.get_title() for axis in (first, second)] == ['loss', 'loss_cls']
    lines = {line.get_label(): line.get_xydata().tolist() for line in first.lines}
    assert lines == {'run': [[1, 3], [2, 2], [3, 1]], 'other': [[4, 8]]}
    with pytest.raises(plot.PlotError, match=r'No "accuracy" was logged\. Logged are: loss, loss_cls, lr, step\.'):
        plot.plot_curves([run], ['accuracy'])
    with pytest.raises(plot.PlotError, match='holds no training log'):
        plot.plot_curves([tmp_path / 'nowhere'])


def test_ablation_bars_are_means_over_seeds_the_best_on_top(tmp_path):
    rows = [
        dict(losses=losses, seed=seed, box_ap=ap, zero_shot_ap=ap / 2)
        for losses, values in (('all', (0.1, 0.3)), ('loc + intra', (0.4, 0.6)))
        for seed, ap in enumerate(values)
    ]
    (tmp_path / 'file.json').write_text(json.dumps(dict(ablation=rows)))
    (axis,) = plot.plot_ablation(tmp_path / 'file.json').axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ['all', 'loc + intra']
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.2, 0.5, 0.1, 0.25])


def test_odinw_means_are_over_data_sets_that_all_runs_have(tmp_path):
    for name, found in (('a', dict(Aquarium=0.2, Raccoon=0.4)), ('b', dict(Raccoon=0.5))):
        (tmp_path / name).mkdir()
        content = dict(results=[dict(name=key, ap=ap) for key, ap in found.items()])
        (tmp_path / name / 'results.json').write_text(json.dumps(content))
    (axis,) = plot.plot_odinw([tmp_path / 'a', tmp_path / 'b']).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ['Aquarium', 'Raccoon', 'mean of 1']
    heights = [bar.get_height() for bar in axis.patches]
    assert heights[:3] == pytest.approx([20, 40, 40]) and heights[4:] == pytest.approx([50, 50])


def test_the_tool_draws_the_shipped_results_and_names_a_file_that_is_none(tmp_path, capsys):
    plot.main(['ablation', 'benchmarks/results/pretraining.json', '--out', str(tmp_path / 'a.png')])
    with Image.open(tmp_path / 'a.png') as picture:
        assert picture.width > 900
    with pytest.raises(SystemExit):
        plot.main(['odinw', str(tmp_path)])
    assert 'results.json" cannot be read' in capsys.readouterr().err
