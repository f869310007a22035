"""Lets configs inherit by ``_base_ = 'glipv2_mmdet::glipv2/glipv2_t_coco.py'``.

mmengine keeps a fixed table of the packages whose configs may be inherited from; plugins are not in it. The files
themselves lie where mmengine expects them (``glipv2_mmdet/.mim/configs``).

Expiry: when mmengine reads the table from installed packages.
"""

from __future__ import annotations

from mmengine.config import utils

PACKAGE = 'glipv2_mmdet'


def offer_configs() -> None:
    """Add this package to mmengine's table; a second call changes nothing."""
    utils.MODULE2PACKAGE.setdefault(PACKAGE, PACKAGE)
