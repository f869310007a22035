"""A time limit for the next batch, for every recipe: a loader that delivers nothing ends the run with a message.

A process that cannot allocate memory for a batch prints an error from a thread of its own and drops the batch; one that
waits for a disk or a pipe never returns. torch then waits for ever unless the loader has a time-out.
"""

from __future__ import annotations

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner


@HOOKS.register_module()
class LoaderTimeoutHook(Hook):
    """Gives every data loader with processes of its own a time-out; one of the config (``timeout``) stays.

    torch raises ``RuntimeError: DataLoader timed out after 600 seconds``. In ``tools/train.py`` it becomes a
    ``RunEndedError`` with the causes and the way to go on.

    Args:
        seconds: to wait for one batch, starting the processes included; 0 waits for ever.

    Raises:
        ValueError: a negative number.
    """

    def __init__(self, seconds: float = 600) -> None:
        if seconds < 0:
            raise ValueError(f'LoaderTimeoutHook.seconds is {seconds}. Expected 0 (wait for ever) or more.')
        self.seconds = seconds

    def before_run(self, runner: Runner) -> None:
        """Sets the time-out of the loaders that are built."""
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            if not isinstance(loop, BaseLoop):
                continue
            loader = loop.dataloader
            if getattr(loader, 'num_workers', 0) == 0 or loader.timeout:
                continue
            loader.timeout = self.seconds
            # mmengine's iteration-based loops have started their processes already
            running = getattr(getattr(loop, 'dataloader_iterator', None), '_iterator', None)
            if running is not None:
                running._timeout = self.seconds
