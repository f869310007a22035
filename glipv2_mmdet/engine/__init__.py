"""What a run needs beside the model; importing registers it with mmdet."""

from glipv2_mmdet.engine.hooks import (
    DurableCheckpointHook,
    MetricsLoggerHook,
    NonFiniteError,
    PromptCheckpointHook,
    StopOnNonFiniteHook,
)
from glipv2_mmdet.engine.optim import MultiplyingOptimWrapperConstructor
from glipv2_mmdet.engine.resumable_loop import ResumableTrainLoop

__all__ = [
    'DurableCheckpointHook',
    'MetricsLoggerHook',
    'MultiplyingOptimWrapperConstructor',
    'NonFiniteError',
    'PromptCheckpointHook',
    'ResumableTrainLoop',
    'StopOnNonFiniteHook',
]
