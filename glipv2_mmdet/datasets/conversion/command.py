"""What the converter scripts share: options, the summary line, and ``--check``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from glipv2_mmdet.datasets.conversion.check import check_odvg
from glipv2_mmdet.datasets.conversion.odvg_writer import write_label_map, write_odvg


def add_options(parser: argparse.ArgumentParser) -> None:
    """--out, --image-root, --check, --force, --scratch."""
    parser.add_argument('--out', type=Path, required=True, help='ODVG jsonl to write')
    parser.add_argument('--image-root', type=Path, help='with --check: where the images are looked for')
    parser.add_argument(
        '--check',
        action='store_true',
        help='read the result as training would and print a table; fails when something is wrong',
    )
    parser.add_argument('--force', action='store_true', help='convert again although nothing has changed')
    parser.add_argument(
        '--scratch',
        type=Path,
        help='folder for temporary files as large as the annotations (default: the folder of --out)',
    )


def scratch_folder(args: argparse.Namespace) -> Path:
    """The folder for temporary files, made when it is not there."""
    folder = args.scratch or args.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_conversion(
    args: argparse.Namespace,
    records: Iterable[dict],
    sources: Sequence[str | Path],
    say: Callable[[str], None],
    names: Sequence[str] | None = None,
    **settings: object,
) -> int:
    """Writes records, the label map of a detection file beside them, and checks both when asked to.

    Args:
        args: parsed options, with those of :func:`add_options`.
        records: read only when the result is not up to date.
        sources: raw files.
        say: takes lines for the user.
        names: class names; None for grounding records.
        settings: what else changes the result.

    Returns:
        Exit status: 1 when the check found errors.
    """
    label_map = None if names is None else args.out.with_name(f'{args.out.stem}_label_map.json')
    count = write_odvg(args.out, records, sources, {**settings, 'names': names and list(names)}, args.force)
    if label_map is not None and (count is not None or not label_map.is_file()):
        write_label_map(label_map, names)
    say(f'{args.out}: up to date' if count is None else f'{args.out}: {count} records written')
    if label_map is not None:
        say(f'{label_map}: {len(names)} classes')
    if not args.check:
        return 0
    report = check_odvg(args.out, label_map, args.image_root)
    say(report.table())
    return 0 if report.ok else 1
