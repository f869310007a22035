"""Compares glipv2_mmdet with the numbers of other implementations.

    python tests/parity/check.py DIR [--json FILE]

Runs every case found in the fixtures folder DIR, prints the largest error of every array beside its
tolerance, and exits with 1 when one is past it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

import glipv2_mmdet  # noqa: E402, F401  (before anything imports mmdet)

# isort: split
from mmdet.utils import register_all_modules  # noqa: E402

from tests.parity.compare import Comparison, as_json, summary, table  # noqa: E402
from tests.parity.component_cases import compare_component_case  # noqa: E402
from tests.parity.fixtures import Case, FixtureError, find_cases  # noqa: E402
from tests.parity.model_build import build_model  # noqa: E402
from tests.parity.model_case import compare_model_case  # noqa: E402


def compare_all(cases: list[Case]) -> Iterator[Comparison]:
    """Case by case; prompt kinds of one folder follow each other and share its model."""
    built, model, layout = None, None, None
    for case in cases:
        if case.kind != 'model':
            yield compare_component_case(case)
            continue
        if case.folder != built:
            model = None  # the old one goes before the new one comes
            model, layout = build_model(case.folder, case.root)
            built = case.folder
        yield compare_model_case(case, model, layout)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dir', type=Path, help='fixtures folder')
    parser.add_argument('--json', type=Path, help='also write the table as JSON')
    args = parser.parse_args(argv)
    register_all_modules(init_default_scope=True)
    rows = []
    try:
        for comparison in compare_all(find_cases(args.dir)):
            print(table(comparison.rows), end='\n\n', flush=True)
            rows += comparison.rows
    except FixtureError as error:
        raise SystemExit(f'{error}') from error
    failed = [row for row in rows if row.failed]
    print(summary(rows))
    if failed:
        print(f'\n{len(failed)} arrays past their tolerance:\n{table(failed)}')
    if args.json:
        result = dict(ok=not failed, num_failed=len(failed), rows=as_json(rows))
        args.json.write_text(json.dumps(result, indent=1) + '\n')
    return 1 if failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
