"""Checks the packages this one stands on and says in one message what to install.

Only import names count: the original OpenMMLab packages and the maintained OneDL forks both provide
``mmengine``, ``mmcv`` and ``mmdet`` (forks with higher versions: mmcv 2.3.6, mmdet 3.5.1). That is also why
``setup.py`` cannot ask pip for them and this check is needed.

Expiry: the limit of mmdet 3.3.0 on mmcv (it refuses 2.2 and later) is mmdet's own and shows up here as
"does not start".
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from packaging.version import Version

INSTALL_LINES = (
    'pip install torch torchvision        # both from the same index\n'
    "  pip install 'glipv2_mmdet[mm]'        # mmengine, mmcv-lite and mmdet, versions that fit each other\n"
    'or the maintained forks onedl-mmengine, onedl-mmcv and onedl-mmdetection, by their own instructions'
)


@dataclass(frozen=True)
class Requirement:
    """One package: ``module`` is what is imported, ``minimum`` the oldest version that is known to work."""

    module: str
    minimum: str


#: In import order: a later package needs the earlier ones, and its own error would hide theirs.
REQUIREMENTS = (
    Requirement('torch', '2.6'),
    Requirement('torchvision', '0.21'),
    Requirement('mmengine', '0.10.3'),
    Requirement('mmcv', '2.0.0'),
    Requirement('mmdet', '3.3.0'),
    Requirement('transformers', '5.0'),
    Requirement('timm', '1.0.22'),
)


class StackError(ImportError):
    """The packages below this one are missing, too old, or do not fit each other."""


def check_stack(
    requirements: tuple[Requirement, ...] = REQUIREMENTS,
    load: Callable[[str], ModuleType] = importlib.import_module,
) -> dict[str, str]:
    """Import every required package and compare versions.

    Args:
        requirements: what is needed, in import order.
        load: imports a module by name; tests hand in their own.

    Returns:
        Version string of every package by module name.

    Raises:
        StackError: names every package that is missing, too old or broken, and the install lines.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for requirement in requirements:
        problem = _check_one(requirement, load, found)
        if problem:
            problems.append(problem)
    if problems:
        listing = '\n'.join(f'- {problem}' for problem in problems)
        raise StackError(
            f'glipv2_mmdet cannot start with the installed packages:\n{listing}\n'
            f'To install what fits:\n  {INSTALL_LINES}'
        )
    return found


def _check_one(requirement: Requirement, load: Callable[[str], ModuleType], found: dict[str, str]) -> str | None:
    """Import one package and note its version in ``found``; returns what is wrong with it, or None."""
    name, minimum = requirement.module, requirement.minimum
    try:
        module = load(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return f'{name} is missing; expected {name} >= {minimum}.'
        return f"{name} does not start: it needs the package '{error.name}'. Install that package."
    except (ImportError, RuntimeError, OSError, AssertionError) as error:
        # AssertionError: mmdet refuses an mmcv it does not know; RuntimeError and OSError: torchvision whose
        # compiled half belongs to another torch
        return f'{name} does not start: {_first_line(error)} {_hint(name)}'
    version = str(getattr(module, '__version__', '0'))
    found[name] = version
    if Version(version).release < Version(minimum).release:
        return f'{name} {version} is too old; expected {name} >= {minimum}.'
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0]}' if lines else type(error).__name__


def _hint(name: str) -> str:
    if name == 'torchvision':
        return '(Usually torch and torchvision come from different indexes: install both in one command.)'
    if name == 'mmdet':
        return "(mmdet 3.3.0 accepts mmcv >= 2.0, < 2.2; install 'mmcv-lite<2.2' or the OneDL packages.)"
    return '(Reinstall it for the Python and torch in use.)'
