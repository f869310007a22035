"""How a run goes on: loops; importing this package registers them with mmdet."""

from .resumable_loop import ResumableTrainLoop

__all__ = ['ResumableTrainLoop']
