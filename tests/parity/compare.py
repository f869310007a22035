"""Compares arrays with what another implementation got, and prints the result as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

# tolerances of the fixtures' README, each with a wide margin over the noise measured there
FEATURES = 1e-4  # relative to the largest magnitude
SCORES = 1e-4  # absolute
BOXES = 1e-2  # absolute, pixels
LOSSES = 1e-4  # relative
GRADIENTS = 5e-3  # relative to the largest sampled entry
GRADIENT_NORM = 1e-3  # relative
# some gradients are zero but for rounding (a key bias shifts all scores of a row alike); below this part of
# the total norm only the absolute difference counts
GRADIENT_NOISE = 1e-6
OPERATIONS = 1e-5  # relative, single operations in float32


@dataclass(frozen=True)
class Row:
    """One compared array.

    Attributes:
        case: such as ``glip_t/det``.
        array: name of the array.
        error: largest difference, relative to the largest magnitude or absolute, or how many entries differ.
        tolerance: what is allowed; None where nothing was compared.
        unit: ``'relative'``, ``'absolute'`` or ``'entries'``.
        note: why nothing was compared, or what is wrong besides numbers.
    """

    case: str
    array: str
    error: float | None
    tolerance: float | None
    unit: str
    note: str = ''

    @property
    def compared(self) -> bool:
        return self.tolerance is not None

    @property
    def ok(self) -> bool:
        """False as well for NaN and for what was not compared."""
        return self.compared and self.error <= self.tolerance

    @property
    def failed(self) -> bool:
        return self.compared and not self.ok


@dataclass
class Comparison:
    """Rows of one case, as they come in."""

    case: str
    rows: list[Row] = field(default_factory=list)

    def relative(
        self, array: str, got: object, want: object, tolerance: float, also: Iterable[float] = (), floor: float = 0.0
    ) -> None:
        """Largest difference over the largest magnitude of ``want``.

        ``also``: more relative errors of it; ``floor``: smaller magnitudes than this count as this.
        """
        got, want, note = _numbers(got), _numbers(want), ''
        if got.shape != want.shape:
            error, note = math.inf, f'shape {got.shape} instead of {want.shape}'
        else:
            scale = max(_largest_magnitude(want), floor) or 1.0
            error = _largest([_largest_difference(got, want) / scale, *also])
        self.rows.append(Row(self.case, array, error, tolerance, 'relative', note))

    def absolute(self, array: str, got: object, want: object, tolerance: float) -> None:
        got, want, note = _numbers(got), _numbers(want), ''
        if got.shape != want.shape:
            error, note = math.inf, f'shape {got.shape} instead of {want.shape}'
        else:
            error = _largest_difference(got, want)
        self.rows.append(Row(self.case, array, error, tolerance, 'absolute', note))

    def equal(self, array: str, got: object, want: object) -> None:
        """Entries that differ; none may."""
        got, want, note = _numbers(got), _numbers(want), ''
        if got.shape != want.shape:
            error, note = math.inf, f'shape {got.shape} instead of {want.shape}'
        else:
            error = float((got != want).sum())
        self.rows.append(Row(self.case, array, error, 0.0, 'entries', note))

    def fail(self, array: str, note: str) -> None:
        self.rows.append(Row(self.case, array, math.inf, 0.0, 'entries', note))

    def skip(self, array: str, note: str) -> None:
        """Nothing to compare with; listed, neither passed nor failed."""
        self.rows.append(Row(self.case, array, None, None, '', note))


def relative_error(got: float, want: float, floor: float = 0.0) -> float:
    return abs(got - want) / (max(abs(want), floor) or 1.0)


def table(rows: Iterable[Row]) -> str:
    """One line per array and one per case."""
    rows = list(rows)
    name_width = max(len(f'{row.case}  {row.array}') for row in rows)
    lines = [f'{"array":<{name_width}}  {"error":>9}  {"tolerance":>9}  {"unit":<8}  ok']
    for row in rows:
        name = f'{row.case}  {row.array}'
        if row.compared:
            verdict = f'{row.error:9.1e}  {row.tolerance:9.0e}  {row.unit:<8}  {"ok" if row.ok else "FAILED"}'
        else:
            verdict = f'{"-":>9}  {"-":>9}  {"":<8}  -'
        lines.append(f'{name:<{name_width}}  {verdict}  {row.note}'.rstrip())
    return '\n'.join(lines)


def summary(rows: Iterable[Row]) -> str:
    """Worst array of every case."""
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    lines = []
    for case, members in cases.items():
        compared = [row for row in members if row.compared]
        failed = [row for row in compared if not row.ok]
        if not compared:
            lines.append(f'{case}: {members[0].note}')
            continue
        worst = max((row for row in compared if row.unit == 'relative'), key=_badness, default=None)
        lines.append(
            f'{case}: {len(compared) - len(failed)} of {len(compared)} arrays agree'
            + (f', largest relative error {worst.error:.1e} ({worst.array})' if worst else '')
        )
    return '\n'.join(lines)


def as_json(rows: Iterable[Row]) -> list[dict]:
    """Rows for a file: numbers JSON knows, infinite and NaN errors as text."""
    listed = []
    for row in rows:
        entry = asdict(row) | dict(ok=row.ok, compared=row.compared)
        if row.error is not None and not math.isfinite(row.error):
            entry['error'] = str(row.error)
        listed.append(entry)
    return listed


def _badness(row: Row) -> float:
    return math.inf if math.isnan(row.error) else row.error


def _numbers(values: object) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values).astype(np.float64)


def _largest_magnitude(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))


def _largest_difference(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max(initial=0.0))


def _largest(errors: list[float]) -> float:
    # max() would lose a NaN that is not in front
    return float(torch.tensor(errors, dtype=torch.float64).max())
