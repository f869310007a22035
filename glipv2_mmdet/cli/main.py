"""Which subcommands there are, and what happens when one fails: exit code 2 and one line."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmengine.logging import MMLogger

from glipv2_mmdet.version import __version__

#: Modules of this package, in the order of the help.
COMMANDS = ('detect', 'segment', 'ground', 'ask', 'caption', 'download', 'export', 'demo', 'run')
FAILED, INTERRUPTED = 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; a parsed command has its function under ``run``."""
    parser = argparse.ArgumentParser(
        prog='glipv2',
        description='Find, mask, ground, answer and describe with GLIPv2 models.',
        epilog='Help on one command: glipv2 COMMAND --help',
    )
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
    # names of files and classes may hold letters that the console does not have
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    try:
        with _logs_on_stderr():
            args.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # a user gets a line about any of them, and may ask for more
        if args.debug:
            raise
        message = ' '.join(str(error).split())
        if not isinstance(error, (ValueError, OSError, ImportError)):
            # nothing that was checked before: more likely a bug than a wrong argument
            message = f'{type(error).__name__}: {message} (--debug shows where)'
        sys.stderr.write(f'glipv2 {args.command}: {message or type(error).__name__}\n')
        return FAILED
    return 0


@contextmanager
def _logs_on_stderr() -> Iterator[None]:
    """Warnings only, and not between the results: mmengine logs to standard output."""
    logger = MMLogger.get_current_instance()
    streams = {
        handler: handler.stream
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout
    }
    level = logger.level
    for handler in streams:
        handler.setStream(sys.stderr)
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler, stream in streams.items():
            handler.setStream(stream)
