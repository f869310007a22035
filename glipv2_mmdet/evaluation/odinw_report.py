"""The table of an ODinW run: AP per data set and their mean, as Markdown, CSV and json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glipv2_mmdet.files import atomic_write


@dataclass(frozen=True)
class ODinWResult:
    """What one data set gave.

    Args:
        name: of the data set.
        split: that was evaluated.
        images: how many.
        ap: COCO box AP, a fraction.
        ap50: the same at IoU 0.5.
        ap75: the same at IoU 0.75.
    """

    name: str
    split: str
    images: int
    ap: float
    ap50: float
    ap75: float


@dataclass(frozen=True)
class ODinWReport:
    """Results of a run.

    Args:
        run: what was evaluated: config, checkpoint, protocol.
        wanted: names of all data sets of the benchmark, in order.
        results: of those that were evaluated.
    """

    run: Mapping[str, Any]
    wanted: Sequence[str]
    results: Sequence[ODinWResult]

    @property
    def missing(self) -> list[str]:
        """Data sets without a result."""
        found = {result.name for result in self.results}
        return [name for name in self.wanted if name not in found]

    def mean(self, name: str = 'ap') -> float | None:
        """Plain mean over the data sets that were evaluated; None when there are none."""
        values = [getattr(result, name) for result in self.results]
        return sum(values) / len(values) if values else None

    def headline(self) -> str:
        """The mean and, where data sets are missing, that it is not the benchmark's."""
        mean, total = self.mean(), len(self.wanted)
        if mean is None:
            return f'None of the {total} data sets of ODinW-{total} was evaluated.'
        if not self.missing:
            return f'ODinW-{total}: mean box AP {100 * mean:.1f}'
        return (
            f'Mean box AP {100 * mean:.1f} over {len(self.results)} of {total} data sets: not the ODinW-{total} '
            f'figure. Not evaluated: {", ".join(self.missing)}.'
        )

    def markdown(self) -> str:
        """Table of percentages with the headline below it."""
        lines = ['| data set | split | images | AP | AP50 | AP75 |', '| --- | --- | --- | --- | --- | --- |']
        lines += [
            f'| {row.name} | {row.split} | {row.images} | {100 * row.ap:.1f} | {100 * row.ap50:.1f} | '
            f'{100 * row.ap75:.1f} |'
            for row in self.results
        ]
        if self.results:
            means = ' | '.join(f'{100 * self.mean(name):.1f}' for name in ('ap', 'ap50', 'ap75'))
            lines.append(f'| mean of {len(self.results)} | | | {means} |')
        return '\n'.join([*lines, '', self.headline(), ''])

    def csv(self) -> str:
        """One line per data set, fractions."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(['data_set', 'split', 'images', 'ap', 'ap50', 'ap75'])
        writer.writerows(asdict(row).values() for row in self.results)
        return text.getvalue()

    def save(self, folder: Path) -> None:
        """Writes ``results.json`` (read again by :func:`read_results`), ``results.csv`` and ``results.md``."""
        content = dict(
            run=dict(self.run),
            mean_ap=self.mean(),
            is_complete=not self.missing,
            missing=self.missing,
            results=[asdict(row) for row in self.results],
        )
        for name, text in (
            ('results.json', json.dumps(content, indent=1) + '\n'),
            ('results.csv', self.csv()),
            ('results.md', self.markdown()),
        ):
            with atomic_write(folder / name) as file:
                file.write(text.encode())


def read_results(folder: Path, run: Mapping[str, Any]) -> list[ODinWResult]:
    """Results that an earlier, perhaps interrupted, call saved.

    Args:
        folder: of :meth:`ODinWReport.save`.
        run: what is to be evaluated now.

    Raises:
        ValueError: the folder holds results of another run.
    """
    file = folder / 'results.json'
    if not file.is_file():
        return []
    content = json.loads(file.read_text(encoding='utf-8'))
    different = sorted(key for key in run if content['run'].get(key) != run[key])
    if different:
        key = different[0]
        raise ValueError(
            f'{file} holds results of another run: its {key} is {content["run"].get(key)!r}, now it is {run[key]!r}. '
            'Choose another --out, or remove that folder.'
        )
    return [ODinWResult(**row) for row in content['results']]
