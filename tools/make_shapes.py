"""Renders the embedded data set "shapes" (pictures, boxes, masks, texts); nothing to do when it is there.

A folder of the same recipe that lacks a newer file gains that file; what it has stays as it is.

python tools/make_shapes.py --out data/shapes
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from glipv2_mmdet.datasets.shapes import make_shapes


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='data/shapes', help='folder of the data set (default: %(default)s)')
    parser.add_argument('--train', type=int, default=3000, help='scenes to train on (default: %(default)s)')
    parser.add_argument('--val', type=int, default=200, help='scenes with seen pairs (default: %(default)s)')
    parser.add_argument('--zero-shot', type=int, default=200, help='scenes with held-out pairs (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='same seed, same bytes (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=1, help='processes that draw (default: %(default)s)')
    return parser.parse_args(arguments)


def progress_line(every: int = 200) -> Callable[[int, int], None]:
    """A callback that writes one line per ``every`` scenes; readable in a log file as well as a terminal."""
    start = time.perf_counter()

    def show(done: int, total: int) -> None:
        if done % every == 0 or done == total:
            sys.stdout.write(f'shapes: {done}/{total} scenes, {time.perf_counter() - start:.0f} s\n')
            sys.stdout.flush()

    return show


def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    try:
        folder = make_shapes(
            args.out, args.train, args.val, args.zero_shot, args.seed, args.workers, progress=progress_line()
        )
    except (ValueError, FileExistsError) as error:
        sys.stderr.write(f'make_shapes: {error}\n')
        return 2
    sys.stdout.write(f'shapes: ready in {folder}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
