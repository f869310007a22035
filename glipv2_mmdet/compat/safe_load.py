"""Lets torch's weights-only loading read mmengine's checkpoints, by naming the few classes they contain.

From torch 2.6 on ``torch.load`` refuses every class it does not know, and a checkpoint of mmengine holds a
message hub (``HistoryBuffer``), numpy arrays and numpy scalars. Those are added to torch's allow-list; the
protection itself is never turned off. Older torch loads unprotected by default: nothing can be added there.

``HistoryBuffer`` stores its statistics functions, which pickle writes as ``getattr(HistoryBuffer, 'mean')``.
The builtin ``getattr`` must not be allowed: with it a file can walk from any class to ``eval`` and plant that
where it gets called. :func:`_history_buffer_method` answers to the name instead and knows those functions
only.

onedl-mmengine (seen: 0.10.12) has a loader of its own that allows ``getattr`` and, when torch refuses a file,
reads it again without protection, which runs whatever is in it. It is replaced by a plain protected load.

Expiry: when mmengine stores plain numbers and the fork's loader has no such retreat, this file can go.
"""
from __future__ import annotations

import importlib
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint
from packaging.version import Version

#: Types that metrics, losses and counters come in. Objects ('O') are left out on purpose.
_NUMPY_TYPES = ('bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'float16',
                'float32', 'float64', 'str', 'bytes')
_HISTORY_METHODS = ('min', 'max', 'current', 'mean')


def allow_mmengine_checkpoints() -> None:
    """Add the classes of mmengine checkpoints to torch's allow-list (process wide; may be repeated)."""
    if Version(torch.__version__).release < (2, 6):
        return
    torch.serialization.add_safe_globals(safe_globals())
    if hasattr(checkpoint, '_safe_torch_load'):
        checkpoint._safe_torch_load = _protected_load


def _protected_load(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """``torch.load`` with the arguments of onedl-mmengine's loader; protected unless told not to."""
    return torch.load(file, map_location=map_location, weights_only=weights_only is not False)


def safe_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Classes and functions of mmengine checkpoints; a pair adds the name by which a file refers to it."""
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [HistoryBuffer, np.ndarray, np.dtype]
    # numpy 2 rebuilds a dtype as an instance of its own class, for example numpy.dtypes.Float64DType
    dtype_classes = {type(np.dtype(name)) for name in _NUMPY_TYPES} - {np.dtype}
    allowed += sorted(dtype_classes, key=lambda dtype_class: dtype_class.__name__)
    is_numpy_2 = Version(np.__version__).major >= 2
    multiarray = importlib.import_module('numpy._core.multiarray' if is_numpy_2 else 'numpy.core.multiarray')
    for name in ('scalar', '_reconstruct'):
        # both names: a file written with numpy 1 must load with numpy 2, and the other way round
        for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
            allowed.append((getattr(multiarray, name), f'{module}.{name}'))
    allowed.append((_history_buffer_method, 'builtins.getattr'))
    return allowed


def _history_buffer_method(owner: object, name: str) -> Callable[..., Any]:
    """Stands for ``getattr`` in a checkpoint: the statistics functions of ``HistoryBuffer``, nothing else.

    Raises:
        pickle.UnpicklingError: the file asks for another attribute, as a tampered one would.
    """
    if owner is not HistoryBuffer or name not in _HISTORY_METHODS:
        raise UnpicklingError(f"Checkpoint asks for attribute '{name}' of {owner!r}; only the functions "
                              f'{", ".join(_HISTORY_METHODS)} of HistoryBuffer are allowed. Do not trust '
                              'this file.')
    return getattr(HistoryBuffer, name)
