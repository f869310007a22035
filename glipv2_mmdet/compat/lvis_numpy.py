"""Lets the released ``lvis`` package (0.5.3) evaluate with current numpy.

Its evaluator asks numpy for ``np.float``, a name for Python's ``float`` that numpy 1.24 removed; its main branch says
``float`` instead, and was never released. Numpy itself stays as it is: only the evaluator's own ``np`` gets the name.

Expiry: with a release of ``lvis`` after 0.5.3.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np


class _NumpyWithFloat(ModuleType):
    """Numpy, and the one name it lost."""

    float = float

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def provide_numpy_float() -> bool:
    """Repair ``lvis.eval`` where it is installed and needs it; a second call changes nothing.

    Returns:
        Whether anything was changed.
    """
    if hasattr(np, 'float'):
        return False
    try:
        evaluator = importlib.import_module('lvis.eval')
    except ImportError:
        return False
    if isinstance(evaluator.np, _NumpyWithFloat):
        return False
    evaluator.np = _NumpyWithFloat('numpy')
    return True
