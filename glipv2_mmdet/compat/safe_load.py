"""Every checkpoint is read weights-only: mmengine's loaders too, and mmengine's own files still load.

From torch 2.6 on ``torch.load`` refuses every class it does not know, and a checkpoint of mmengine holds a
message hub (``HistoryBuffer``), numpy arrays and numpy scalars. Those are added to torch's allow-list; the
protection itself is never turned off. Two ways around it are closed: files by http, for which mmengine calls
``torch.hub.load_state_dict_from_url``, that unpickles everything unless told otherwise, and torch before 2.6, whose
default is to unpickle everything. Old torch is told at every load, but cannot be trusted with it (CVE-2025-32434: its
weights-only loading could be made to run code), so a warning says to give it ``.safetensors`` or own files alone.

``HistoryBuffer`` stores its statistics functions, which pickle writes as ``getattr(HistoryBuffer, 'mean')``.
The builtin ``getattr`` must not be allowed: with it a file can walk from any class to ``eval`` and plant that
where it gets called. :func:`_history_buffer_method` answers to the name instead and knows those functions
only.

onedl-mmengine (seen: 0.10.12) has a loader of its own that allows ``getattr`` and, when torch refuses a file,
reads it again without protection, which runs whatever is in it. It is replaced by a plain protected load.

Expiry: when mmengine stores plain numbers and the fork's loader has no such retreat, this file can go.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from packaging.version import Version
from torch.hub import load_state_dict_from_url

#: Types that metrics, losses and counters come in. Objects ('O') are left out on purpose.
_NUMPY_TYPES = (
    'bool',
    'int8',
    'int16',
    'int32',
    'int64',
    'uint8',
    'uint16',
    'uint32',
    'uint64',
    'float16',
    'float32',
    'float64',
    'str',
    'bytes',
)
_HISTORY_METHODS = ('min', 'max', 'current', 'mean')


def allow_mmengine_checkpoints() -> None:
    """Protect mmengine's loaders and add its classes to torch's allow-list (process wide; may be repeated)."""
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    checkpoint.load_from_local = load_from_local
    # what load_from_http calls, and through it the names of torchvision and OpenMMLab
    checkpoint.load_url = functools.partial(load_state_dict_from_url, weights_only=True)
    if hasattr(checkpoint, '_safe_torch_load'):
        checkpoint._safe_torch_load = protected_load
    if is_protected():
        torch.serialization.add_safe_globals(safe_globals())


def is_protected() -> bool:
    """Whether weights-only loading of this torch keeps what it promises."""
    return Version(torch.__version__).release >= (2, 6)


def protected_load(file: Any, map_location: Any = None, weights_only: bool | None = None, **settings: Any) -> Any:
    """``torch.load`` that refuses everything but weights and numbers, unless ``weights_only`` is False.

    Raises:
        pickle.UnpicklingError: the file holds something else.
    """
    if not is_protected():
        _warn_old_torch()
    return torch.load(file, map_location=map_location, weights_only=weights_only is not False, **settings)


def load_from_local(filename: str | os.PathLike, map_location: Any = None) -> Any:
    """mmengine's loader of files on this machine, that takes ``.safetensors`` too.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it cannot be read, or holds more than weights and numbers.
    """
    # the package is complete by the time a file is loaded
    from glipv2_mmdet.checkpoints.load import read_checkpoint

    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{filename} can not be found. Give the path of a checkpoint on this machine.')
    # not mapped: a run that is resumed may write over the very file
    content = read_checkpoint(path, map_location=map_location, mapped=False)
    return dict(state_dict=content) if path.suffix == '.safetensors' else content


@functools.cache
def _warn_old_torch() -> None:
    print_log(
        f'torch {torch.__version__} cannot read a checkpoint of a stranger safely (CVE-2025-32434). Give it '
        'files of your own or .safetensors, or install torch 2.6 or later.',
        logger='current',
        level=logging.WARNING,
    )


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
        raise UnpicklingError(
            f"Checkpoint asks for attribute '{name}' of {owner!r}; only the functions "
            f'{", ".join(_HISTORY_METHODS)} of HistoryBuffer are allowed. Do not trust '
            'this file.'
        )
    return getattr(HistoryBuffer, name)
