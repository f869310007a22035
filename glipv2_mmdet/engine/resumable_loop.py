"""The training loop whose resumed runs see the data, and draw the random numbers, of an uninterrupted one.

mmengine's ``IterBasedTrainLoop`` resumes at step n by loading and throwing away n batches: at 300,000 steps that
decodes millions of images before the first new step (older versions start over with the first batch instead). Here the
sampler is told where to go on, and nothing is loaded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from mmdet.registry import LOOPS
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import BatchSampler, DataLoader

from glipv2_mmdet.datasets.samplers.sample_draw import draw_seed


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """``IterBasedTrainLoop`` that finds its place in the data and seeds every step.

    With torch's ``BatchSampler`` (the default) over ``MixedSampler`` finding the place takes no time. Any other batch
    sampler, such as ``AspectRatioBatchSampler``, is replayed: it is asked for the batches of the steps that are done,
    which costs reading their records, not loading their images. What a stream without indices (``WebDatasetPairs``)
    had delivered is not known after a restart; it goes on with other pairs.

    Each step's random numbers (dropout) follow from the run's seed, the rank and the step.

    Args:
        runner, dataloader, kwargs: as in ``IterBasedTrainLoop``.
    """

    def __init__(self, runner: Any, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(
                dataloader, seed=runner.seed, diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False)
            )
        # the base class starts workers, which draw batches ahead, before it is known whether the run is resumed
        self._fresh_state = _own_state(dataloader.batch_sampler)
        super().__init__(runner, dataloader, **kwargs)

    def run(self) -> torch.nn.Module:
        """Trains from the current step to the last."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter > 0:
            self._go_to(self._iter)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if (
                self.runner.val_loop is not None
                and self._iter >= self.val_begin
                and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
            ):
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        torch.manual_seed(draw_seed(self.runner.seed or 0, get_rank(), self._iter))
        super().run_iter(data_batch)

    def _go_to(self, step: int) -> None:
        """The next batch is the one of this step (from 0)."""
        batch_sampler = self.dataloader.batch_sampler
        sampler = batch_sampler.sampler
        if not hasattr(sampler, 'seek'):
            raise TypeError(
                f'Sampler {type(sampler).__name__} cannot be told where to go on at step {step}. Expected '
                'one with seek(), such as MixedSampler; or use IterBasedTrainLoop, which loads and skips.'
            )
        vars(batch_sampler).update(copy.deepcopy(self._fresh_state))
        if type(batch_sampler) is BatchSampler:
            sampler.seek(step * batch_sampler.batch_size)
        else:
            sampler.seek(0)
            batches = iter(batch_sampler)
            for _ in range(step):
                next(batches)
            # The running iterator goes on: it empties the group it has just handed out only when asked for the next.
            # DataLoader refuses a new batch sampler, for reasons (it was built for another) that do not hold here.
            object.__setattr__(self.dataloader, 'batch_sampler', _Continued(batch_sampler, batches))
        print_log(
            f'Resumed at step {step}: the data goes on at sample {sampler.position} of this rank.', logger='current'
        )
        self.dataloader_iterator = _InfiniteDataloaderIterator(self.dataloader)


class _Continued:
    """A batch sampler in the middle of its iteration."""

    def __init__(self, batch_sampler: Any, batches: Iterator[list[int]]) -> None:
        self.sampler, self.batch_size = batch_sampler.sampler, batch_sampler.batch_size
        self._batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches


def _own_state(batch_sampler: Any) -> dict[str, Any]:
    """What a batch sampler remembers (its unfinished batches), without the sampler below it."""
    return {name: copy.deepcopy(value) for name, value in vars(batch_sampler).items() if name != 'sampler'}
