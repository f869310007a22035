"""What a run needs beside the model; importing registers it with mmdet."""
from glipv2_mmdet.engine.optim import MultiplyingOptimWrapperConstructor

__all__ = ['MultiplyingOptimWrapperConstructor']
