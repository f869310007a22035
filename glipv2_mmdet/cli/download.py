"""``glipv2 download glip-t``: the public GLIP weights, checked and converted; every command then finds them."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tqdm import tqdm

from glipv2_mmdet.apis.downloads import PUBLIC_MODELS, cache_dir, download, public_checkpoint


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('download', help='public GLIP weights', description=__doc__)
    parser.add_argument('name', choices=list(PUBLIC_MODELS))
    parser.add_argument('--out', help='folder (default: $GLIPV2_CACHE or ~/.cache/glipv2_mmdet, where models look)')
    parser.add_argument('--mirror', help='address of a server with the same files, for example http://intranet:8000')
    return parser


def run(args: argparse.Namespace) -> None:
    checkpoint = public_checkpoint(args.name)
    with tqdm(unit='B', unit_scale=True, desc=args.name, disable=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        file = download(checkpoint, args.out or cache_dir(), args.mirror, show)
    sys.stdout.write(f'{file}\n')
