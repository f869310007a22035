"""Registries of the scope ``glipv2_mmdet``: empty children of mmdet's, which hold every component of this package.

mmengine marks what a config inherits by ``_base_ = 'glipv2_mmdet::glipv2/glipv2_t_coco.py'`` with that scope, and looks
here for it. Components stay registered in mmdet's registries, where configs with ``default_scope = 'mmdet'`` find them.
"""

from __future__ import annotations

from mmdet import registry as mmdet_registry
from mmengine.registry import Registry

SCOPE = 'glipv2_mmdet'


def _child(parent: Registry) -> Registry:
    # importing what the parent would import, too: mmengine does that for the registry it asks, not for its parents
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=['glipv2_mmdet', *parent._locations])


DATASETS = _child(mmdet_registry.DATASETS)
DATA_SAMPLERS = _child(mmdet_registry.DATA_SAMPLERS)
EVALUATOR = _child(mmdet_registry.EVALUATOR)
HOOKS = _child(mmdet_registry.HOOKS)
LOG_PROCESSORS = _child(mmdet_registry.LOG_PROCESSORS)
LOOPS = _child(mmdet_registry.LOOPS)
METRICS = _child(mmdet_registry.METRICS)
MODELS = _child(mmdet_registry.MODELS)
MODEL_WRAPPERS = _child(mmdet_registry.MODEL_WRAPPERS)
OPTIMIZERS = _child(mmdet_registry.OPTIMIZERS)
OPTIM_WRAPPERS = _child(mmdet_registry.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child(mmdet_registry.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child(mmdet_registry.PARAM_SCHEDULERS)
RUNNERS = _child(mmdet_registry.RUNNERS)
RUNNER_CONSTRUCTORS = _child(mmdet_registry.RUNNER_CONSTRUCTORS)
TASK_UTILS = _child(mmdet_registry.TASK_UTILS)
TRANSFORMS = _child(mmdet_registry.TRANSFORMS)
VISBACKENDS = _child(mmdet_registry.VISBACKENDS)
VISUALIZERS = _child(mmdet_registry.VISUALIZERS)
WEIGHT_INITIALIZERS = _child(mmdet_registry.WEIGHT_INITIALIZERS)
