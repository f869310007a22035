"""The log-log picture of ``benchmarks/scaling.py``: one column per axis, time above, memory below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

COSTS = {'seconds': 'seconds', 'peak_mb': 'memory, MB'}
INK, GUIDE = '#1f4e79', '#b0b0b0'


def draw(rows: Sequence[dict], units: Mapping[str, str], path: Path) -> None:
    """Write a PNG.

    Args:
        rows: ``axis``, ``value``, ``seconds``, ``peak_mb``; an axis of two points is left to the table.
        units: of every axis.
        path: where to.
    """
    columns = {}
    for row in rows:
        columns.setdefault(row['axis'], []).append(row)
    columns = {name: points for name, points in columns.items() if len(points) > 2}
    figure, grid = plt.subplots(
        len(COSTS),
        len(columns),
        figsize=(2.6 * len(columns) + 0.8, 5.6),
        sharex='col',
        sharey='row',
        squeeze=False,
        layout='constrained',
    )
    for panels, (name, points) in zip(grid.T, columns.items(), strict=True):
        values = [row['value'] for row in points]
        for panel, (cost, label) in zip(panels, COSTS.items(), strict=True):
            costs = [row[cost] for row in points]
            panel.loglog(values, costs, 'o-', color=INK, markersize=4)
            # cost in proportion to the value, through the largest point
            panel.loglog(values, [costs[-1] * value / values[-1] for value in values], '--', color=GUIDE, zorder=0)
            panel.grid(which='major', color='#e6e6e6')
            panel.set_xticks(values, [str(value) for value in values], fontsize=8)
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.minorticks_off()
            if panel is panels[-1]:
                panel.set_xlabel(units[name])
            if name == next(iter(columns)):
                panel.set_ylabel(label)
        panels[0].set_title(name.replace('_', ' '), fontsize=11)
    figure.suptitle('Cost of one prediction (boxes: one training step); dashed: in proportion', fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
