"""What a run needs beside the model; importing registers it with mmdet."""

from glipv2_mmdet.engine.hooks import (
    DurableCheckpointHook,
    LoaderTimeoutHook,
    MetricsLoggerHook,
    NonFiniteError,
    PictureHook,
    PromptCheckpointHook,
    StopOnNonFiniteHook,
)
from glipv2_mmdet.engine.optim import MultiplyingOptimWrapperConstructor
from glipv2_mmdet.engine.resumable_loop import ResumableTrainLoop

__all__ = [
    'DurableCheckpointHook',
    'LoaderTimeoutHook',
    'MetricsLoggerHook',
    'MultiplyingOptimWrapperConstructor',
    'NonFiniteError',
    'PictureHook',
    'PromptCheckpointHook',
    'ResumableTrainLoop',
    'StopOnNonFiniteHook',
]
