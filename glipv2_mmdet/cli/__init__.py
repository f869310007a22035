"""The command ``glipv2``: one module per subcommand, each with ``add_parser(subparsers)`` and ``run(args)``."""

from glipv2_mmdet.cli.main import main

__all__ = ['main']
