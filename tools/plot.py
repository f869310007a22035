"""Figures of runs: python tools/plot.py curves RUN ... | ablation FILE | odinw FOLDER ... [--out FILE.png].

curves: losses over steps of one or more runs (a work directory, or a scalars.json that mmengine writes).
ablation: the rows of benchmarks/results/pretraining.json, mean and every seed.
odinw: AP per data set of one or more output folders of tools/odinw.py.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#5a5a5a', '#c4b000')


class PlotError(ValueError):
    """A file that holds nothing to plot."""


def plot_curves(runs: Sequence[Path], keys: Sequence[str] | None = None) -> Figure:
    """One small plot per logged loss, one line per run.

    Args:
        runs: work directories or ``scalars.json`` files.
        keys: what to plot; by default ``loss`` and everything that begins with ``loss_``.

    Raises:
        PlotError: there is no log, or no such key in it.
    """
    logs = {_run_name(run): read_scalars(run) for run in runs}
    known = sorted({key for log in logs.values() for entry in log for key in entry})
    wanted = list(keys or sorted((key for key in known if key == 'loss' or key.startswith('loss_')), key=len))
    missing = [key for key in wanted if key not in known]
    if missing or not wanted:
        raise PlotError(f'No "{missing[0] if missing else "loss"}" was logged. Logged are: {", ".join(known)}.')
    columns = min(3, len(wanted))
    rows = math.ceil(len(wanted) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 2.9 * rows), squeeze=False)
    for axis, key in zip(axes.flat, wanted, strict=False):
        for colour, (name, log) in zip(_cycle(len(logs)), logs.items(), strict=True):
            points = [(entry['step'], entry[key]) for entry in log if key in entry]
            marker = 'o' if len(points) < 15 else None
            steps, values = zip(*points, strict=True) if points else ((), ())
            axis.plot(steps, values, color=colour, label=name, marker=marker, lw=1.4)
        axis.set_title(key, fontsize=10)
        _plain(axis)
    for axis in axes.flat[len(wanted) :]:
        axis.axis('off')
    for axis in axes[-1]:
        axis.set_xlabel('step', fontsize=9)
    if len(logs) > 1:
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc='outside lower center', ncols=3, frameon=False)
    return figure


def plot_ablation(file: Path) -> Figure:
    """Bars of mean AP per row of the loss ablation, a dot for each seed."""
    rows = read_json(file).get('ablation')
    if not rows:
        raise PlotError(f'"{file}" has no list "ablation". Expected benchmarks/results/pretraining.json.')
    names = list(dict.fromkeys(row['losses'] for row in rows))
    columns = (('box_ap', 'scenes with seen pairs'), ('zero_shot_ap', 'scenes with never-seen pairs'))
    values = {name: {key: [row[key] for row in rows if row['losses'] == name] for key, _ in columns} for name in names}
    names.sort(key=lambda name: statistics.mean(values[name]['box_ap']))
    figure, axis = plt.subplots(figsize=(7.2, 0.75 * len(names) + 1.2))
    for shift, colour, (key, label) in zip((0.19, -0.19), COLOURS, columns, strict=False):
        places = [place + shift for place in range(len(names))]
        axis.barh(places, [statistics.mean(values[name][key]) for name in names], 0.34, color=colour, label=label)
        for place, name in zip(places, names, strict=True):
            axis.plot(values[name][key], [place] * len(values[name][key]), 'o', color='black', ms=3, alpha=0.7)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel('box AP; bars are means, dots single seeds', fontsize=9)
    axis.legend(loc='lower right', frameon=False, fontsize=9)
    _plain(axis, 'x')
    return figure


def plot_odinw(folders: Sequence[Path]) -> Figure:
    """Grouped bars of AP per data set, and the mean over those that every folder has."""
    results = {}
    for folder in folders:
        content = read_json(folder / 'results.json')
        if not content.get('results'):
            raise PlotError(f'"{folder}/results.json" has no results. Expected an --out folder of tools/odinw.py.')
        results[_run_name(folder)] = {row['name']: 100 * row['ap'] for row in content['results']}
    names = list(dict.fromkeys(name for found in results.values() for name in found))
    common = [name for name in names if all(name in found for found in results.values())]
    width = 0.8 / len(results)
    figure, axis = plt.subplots(figsize=(max(6.0, 0.55 * (len(names) + 1) * max(1, len(results) / 2) + 1.5), 4.0))
    for row, (colour, (label, found)) in enumerate(zip(_cycle(len(results)), results.items(), strict=True)):
        mean = statistics.mean(found[name] for name in common) if common else math.nan
        heights = [*(found.get(name, math.nan) for name in names), mean]
        places = [place + (row - (len(results) - 1) / 2) * width for place in range(len(heights))]
        axis.bar(places, heights, 0.92 * width, color=colour, label=label)
        for place, height in zip(places, heights, strict=True):
            if not math.isnan(height):
                axis.text(place, height, f'{height:.0f}', ha='center', va='bottom', fontsize=7)
    axis.set_xticks(
        range(len(names) + 1),
        [*names, f'mean of {len(common)}'],
        rotation=40,
        ha='right',
        rotation_mode='anchor',
        fontsize=9,
    )
    axis.axvline(len(names) - 0.5, color='#aaaaaa', lw=0.8)
    axis.set_ylabel('box AP', fontsize=9)
    if len(results) > 1:
        axis.legend(frameon=False, fontsize=9)
    _plain(axis)
    return figure


def read_scalars(run: Path) -> list[dict[str, Any]]:
    """The logged entries of a run that have a step above 0, a resumed run's later ones in place of the earlier."""
    files = [run] if run.is_file() else sorted(run.glob('*/vis_data/scalars.json'))
    entries: dict[int, dict[str, Any]] = {}
    for file in files:
        for line in file.read_text(encoding='utf-8').splitlines():
            entry = json.loads(line)
            if entry.get('step'):
                entries[entry['step']] = {**entries.get(entry['step'], {}), **entry}
    if not entries:
        raise PlotError(
            f'"{run}" holds no training log. Expected a work directory with */vis_data/scalars.json, or such a file.'
        )
    return [entries[step] for step in sorted(entries)]


def read_json(file: Path) -> dict[str, Any]:
    """The content of a json file.

    Raises:
        PlotError: it is not there, or is no json.
    """
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except (OSError, json.JSONDecodeError) as error:
        raise PlotError(f'"{file}" cannot be read: {error}. Give the file or folder of a finished run.') from error


def _run_name(run: Path) -> str:
    run = run.parents[2] if run.name == 'scalars.json' and len(run.parents) > 2 else run
    return run.resolve().name


def _cycle(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _plain(axis: Any, grid: str = 'y') -> None:
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(axis=grid, color='#dddddd', lw=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=9)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('kind', choices=['curves', 'ablation', 'odinw'])
    parser.add_argument('inputs', nargs='+', type=Path, help='runs, the results file, or output folders')
    parser.add_argument('--keys', nargs='+', help='curves: what to plot instead of all losses')
    parser.add_argument('--out', type=Path, help='picture (default: KIND.png)')
    args = parser.parse_args(argv)
    try:
        if args.kind == 'curves':
            figure = plot_curves(args.inputs, args.keys)
        else:
            figure = plot_ablation(args.inputs[0]) if args.kind == 'ablation' else plot_odinw(args.inputs)
    except PlotError as error:
        parser.error(str(error))
    out = args.out or Path(f'{args.kind}.png')
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.set_layout_engine('constrained')
    figure.savefig(out, dpi=150)
    plt.close(figure)
    print(f'written to {out}')


if __name__ == '__main__':
    main()
