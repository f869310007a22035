"""Hooks; importing this package registers them with mmdet."""

from glipv2_mmdet.engine.hooks.durable_checkpoint_hook import DurableCheckpointHook
from glipv2_mmdet.engine.hooks.loader_timeout_hook import LoaderTimeoutHook
from glipv2_mmdet.engine.hooks.metrics_logger import MetricsLoggerHook
from glipv2_mmdet.engine.hooks.picture_hook import PictureHook
from glipv2_mmdet.engine.hooks.prompt_checkpoint_hook import PromptCheckpointHook
from glipv2_mmdet.engine.hooks.stop_on_non_finite_hook import NonFiniteError, StopOnNonFiniteHook

__all__ = [
    'DurableCheckpointHook',
    'LoaderTimeoutHook',
    'MetricsLoggerHook',
    'NonFiniteError',
    'PictureHook',
    'PromptCheckpointHook',
    'StopOnNonFiniteHook',
]
