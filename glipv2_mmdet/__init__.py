"""GLIPv2 as a plugin of MMDetection: importing it registers every component.

Import this package before ``mmdet.models`` or ``mmdet.apis``: it checks the installed stack first and, where
mmcv comes without compiled operations, provides them. Configs do that by
``custom_imports = dict(imports=['glipv2_mmdet'])``.
"""

from glipv2_mmdet.compat import apply_compat
from glipv2_mmdet.version import __version__

apply_compat()

# these import mmdet's models, so they come after the repair above
from glipv2_mmdet import datasets, engine, evaluation, models, visualization  # noqa: E402, F401
from glipv2_mmdet.apis import GLIPv2Inferencer  # noqa: E402
from glipv2_mmdet.compat.coco_by_name import join_categories_by_name  # noqa: E402

join_categories_by_name()

__all__ = ['GLIPv2Inferencer', '__version__']
