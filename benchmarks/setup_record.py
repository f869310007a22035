"""What a figure needs beside it: machine, threads, versions, date and the command that printed it."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys

import torch


def describe_setup(name: str, args: argparse.Namespace, **more: object) -> dict[str, object]:
    """Flat keys that begin with the benchmark's name.

    Args:
        name: of the script in this folder, without its ending.
        args: have ``threads`` and ``repeats``.
        more: other settings that the figures depend on.
    """
    setup = dict(
        machine=f'{platform.machine()} CPU, {os.cpu_count()} cores',
        threads=args.threads,
        torch=torch.__version__,
        date=datetime.date.today().isoformat(),
        repeats=args.repeats,
        **more,
        command=' '.join(['python', f'benchmarks/{name}.py', *sys.argv[1:]]),
    )
    return {f'{name}_{key}': value for key, value in setup.items()}


def setup_sentence(name: str, setup: dict[str, object]) -> str:
    """What :func:`describe_setup` found, as the sentence above a table."""
    value = {key: setup[f'{name}_{key}'] for key in ('machine', 'threads', 'torch', 'date', 'repeats', 'command')}
    return (
        f'{value["machine"]}, {value["threads"]} threads, torch {value["torch"]}, {value["date"]}, median of '
        f'{value["repeats"]} alternating runs.\nCommand: `{value["command"]}`'
    )
