"""Lets configs inherit by ``_base_ = 'glipv2_mmdet::glipv2/glipv2_t_coco.py'``.

mmengine keeps a fixed table of the packages whose configs may be inherited from; plugins are not in it. The files
themselves lie where mmengine expects them (``glipv2_mmdet/.mim/configs``). Where the package lies, mmengine takes from
the list of installed packages, which names ``site-packages`` for an editable install too; the folder of the imported
package is right for every kind of install.

Expiry: when mmengine reads the table from installed packages and finds packages as Python does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from mmengine.config import config, utils
from mmengine.hub import hub

PACKAGE = 'glipv2_mmdet'
FOLDER = Path(__file__).resolve().parents[1]


def offer_configs() -> None:
    """Add this package to mmengine's table and tell mmengine its folder; a second call changes nothing."""
    utils.MODULE2PACKAGE.setdefault(PACKAGE, PACKAGE)
    for module in (config, hub):
        if not hasattr(module.get_installed_path, '__wrapped__'):
            module.get_installed_path = _with_own_folder(module.get_installed_path)


def _with_own_folder(get_installed_path: Callable[[str], str]) -> Callable[[str], str]:
    """The same look-up, that knows the folder of this package."""

    @functools.wraps(get_installed_path)
    def find(package: str) -> str:
        if package != PACKAGE:
            return get_installed_path(package)
        if not (FOLDER / '.mim/model-index.yml').is_file():
            raise FileNotFoundError(
                f'The configs of {PACKAGE} are not in "{FOLDER / ".mim"}"; expected what an install puts there. '
                'Install the package again (make env, or pip install -e . --no-deps --no-build-isolation), or inherit '
                "by the path of the file: _base_ = '/path/to/configs/glipv2/<name>.py'."
            )
        return str(FOLDER)

    return find
