"""What makes inputs, one file per kind; each has ``cases(rng, folder)``, an endless row of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import glipv2_mmdet  # noqa: F401  (before anything imports mmdet)

# isort: split
from mmdet.utils import register_all_modules


def load_maker(kind: str) -> Callable[[random.Random, Path], Iterator[Any]]:
    """The maker of a kind; ``folder`` is where it may write."""
    register_all_modules(init_default_scope=True)
    return import_module(f'{__name__}.{kind}').cases
