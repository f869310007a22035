"""``glipv2 run test.py CONFIG CHECKPOINT --tta``: a script of mmdet, or your own, with this package in place."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('run', help="one of mmdet's scripts, or your own", description=__doc__)
    parser.add_argument('script', help='path of a script, or a tool of mmdet: test.py, analysis_tools/get_flops.py')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help='of the script')
    return parser


def run(args: argparse.Namespace) -> None:
    """Runs the script as Python does; an exit of the script is an exit of the command.

    Raises:
        FileNotFoundError: there is no such script or tool.
    """
    from glipv2_mmdet.run import run_script

    run_script(args.script, args.arguments)
