"""What a run needs beside the model; importing registers it with mmdet."""
from glipv2_mmdet.engine.hooks import MetricsLoggerHook, PromptCheckpointHook
from glipv2_mmdet.engine.optim import MultiplyingOptimWrapperConstructor
from glipv2_mmdet.engine.resumable_loop import ResumableTrainLoop

__all__ = ['MetricsLoggerHook', 'MultiplyingOptimWrapperConstructor', 'PromptCheckpointHook', 'ResumableTrainLoop']
