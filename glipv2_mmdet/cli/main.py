"""Which subcommands there are, and what happens when one fails: exit code 2 and one line."""
from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from ..version import __version__

#: Modules of this package, in the order of the help.
COMMANDS = ('detect', 'segment', 'ground', 'ask', 'caption', 'download', 'demo')
FAILED, INTERRUPTED = 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; a parsed command has its function under ``run``."""
    parser = argparse.ArgumentParser(
        prog='glipv2', description='Find, mask, ground, answer and describe with GLIPv2 models.',
        epilog='Help on one command: glipv2 COMMAND --help')
    parser.add_argument('--version', action='version', version=f'glipv2_mmdet {__version__}')
    subparsers = parser.add_subparsers(metavar='COMMAND', required=True)
    for name in COMMANDS:
        module = importlib.import_module(f'.{name}', __package__)
        command = module.add_parser(subparsers)
        command.add_argument('--debug', action='store_true', help='show where an error comes from')
        command.set_defaults(run=module.run, command=name)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 2 after an error that standard error tells in one line.
    """
    args = build_parser().parse_args(argv)
    try:
        args.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    # what the package raises about its input; anything else is a bug, and its traceback is wanted
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if args.debug:
            raise
        message = ' '.join(str(error).split()) or type(error).__name__
        sys.stderr.write(f'glipv2 {args.command}: {message}\n')
        return FAILED
    return 0
