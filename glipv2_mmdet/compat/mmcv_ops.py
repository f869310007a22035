"""Provides ``mmcv._ext``, mmcv's compiled operations, from torchvision when mmcv came without them.

There is no compiled mmcv for current torch versions, and building one takes long. ``mmcv-lite`` has all
but ``mmcv._ext``, without which ``import mmcv.ops`` (and so every mmdet model) fails. The stand-in carries
the operations of ``mmcv_stand_in``; any other name exists too, so that imports work, and raises an
error when it is called. A compiled mmcv is left untouched.

Expiry: when mmcv falls back to torchvision by itself, or mmdet no longer imports ``mmcv.ops``.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

from glipv2_mmdet.compat import mmcv_stand_in

EXT_NAME = 'mmcv._ext'


class MissingOpError(NotImplementedError):
    """An operation of compiled mmcv was called that has no stand-in."""


def provide_mmcv_ops() -> bool:
    """Put the stand-in in place unless mmcv has its compiled operations.

    Returns:
        True when the stand-in is in use (also when an earlier call installed it).

    Raises:
        ImportError: compiled operations are there but do not load, usually since they belong to another
            torch.
    """
    mmcv = importlib.import_module('mmcv')
    try:
        extension = importlib.import_module(EXT_NAME)
    except ModuleNotFoundError as error:
        if error.name != EXT_NAME:
            raise
        extension = _make_stand_in()
        sys.modules[EXT_NAME] = extension
        mmcv._ext = extension
    except ImportError as error:
        raise ImportError(
            f'The compiled operations of mmcv in {mmcv.__path__[0]} do not load ({error}). They must be '
            'built for the torch in use: reinstall mmcv, or replace it by mmcv-lite (pip uninstall mmcv; '
            'pip install mmcv-lite).'
        ) from error
    return isinstance(extension, _StandIn)


class _StandIn(ModuleType):
    """The module ``mmcv._ext``: known operations as attributes, any other name as a function that raises."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        # names with underscores are questions of the import system and of inspection tools, not operations
        if name.startswith('_'):
            raise AttributeError(f"module '{EXT_NAME}' has no attribute '{name}'")
        return _missing_op(name)


class _StandInLoader(importlib.abc.Loader):
    """Makes the module's ``__spec__`` a real one: look-ups in mmcv and mmengine want a loader in it."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name, __doc__)

    def exec_module(self, module: ModuleType) -> None:
        for name in mmcv_stand_in.__all__:
            setattr(module, name, getattr(mmcv_stand_in, name))


def _make_stand_in() -> ModuleType:
    spec = ModuleSpec(EXT_NAME, _StandInLoader(), origin='glipv2_mmdet.compat')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _missing_op(name: str) -> Callable[..., NoReturn]:
    def call(*args, **kwargs) -> NoReturn:
        raise MissingOpError(
            f"Operation '{name}' of compiled mmcv was called, but this mmcv was installed without compiled "
            f'operations. The stand-in has: {", ".join(mmcv_stand_in.__all__)}. Install a compiled mmcv '
            'that fits this torch, or use a component built on torch or torchvision instead.'
        )

    call.__name__ = name
    return call
