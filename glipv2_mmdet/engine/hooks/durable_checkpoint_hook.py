"""Checkpoints that survive what stops a run: a kill at any moment, a full disk, a damaged file.

As ``default_hooks.checkpoint`` it takes the place of mmengine's ``CheckpointHook``, which writes under the final name
and removes the old checkpoint before the new one is complete.
"""

from __future__ import annotations

import logging
import os.path as osp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner

from glipv2_mmdet.checkpoints import CheckpointError
from glipv2_mmdet.engine.data_fingerprint import DataChangedError, describe_data, differences
from glipv2_mmdet.engine.resumed_settings import apply_changed_settings, changed_run, describe_run, settings_of_groups
from glipv2_mmdet.engine.starting_weights import prepare_starting_weights
from glipv2_mmdet.engine.whole_checkpoints import (
    LAST_CHECKPOINT,
    newest_whole,
    require_place_for_note,
    require_whole,
)
from glipv2_mmdet.files import DiskFullError, atomic_write, remove_leftovers

_LEAST_KEPT = 2
_BACKEND = 'durable'
_TRAIN_DATA, _RUN = 'train_data', 'run_settings'  # in the meta of a checkpoint
_VALIDATED = 'last_validation_iter'  # in the message hub, which checkpoints carry


class DurableBackend(LocalBackend):
    """Local files that are whole or not there."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        try:
            with atomic_write(Path(filepath), size=len(obj)) as file:
                file.write(obj)
        except DiskFullError as error:
            raise DiskFullError(
                f'{error} Make room, or keep fewer checkpoints '
                '(default_hooks.checkpoint.max_keep_ckpts), then give the same command with '
                '--resume.'
            ) from error

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)


register_backend(_BACKEND, DurableBackend, force=True)


@HOOKS.register_module()
class DurableCheckpointHook(CheckpointHook):
    """``CheckpointHook`` whose files are whole or not there, and whose resumed runs know what they stand on.

    Writing: a checkpoint, a best checkpoint and ``last_checkpoint`` get their name when they are complete and on the
    disk; what they replace is removed afterwards. Starting: temporary files of a killed run are removed. Resuming:
    without a name, the newest checkpoint that is whole is taken; a named one (also ``load_from``) that is damaged is
    refused; the training data must be those of the checkpoint; a learning rate or decay that the config has changed is
    applied, and a change that cannot be (schedule, number of processes, batch size) is named in a warning; a validation
    that was due at the checkpoint, and that it knows nothing of, is made up for, because schedules and the best
    checkpoint may depend on it.

    Args:
        data_changed: 'error', or 'warn' to resume on other data.
        repeat_validation: False: a run that was killed in a validation goes on behind it.
        start_from: checkpoint whose weights a resumed run starts from where it has none of its own yet.
        max_keep_ckpts: 2 or more, or -1 for all; 1 is raised to 2, for a damaged file must not be the only one.
        kwargs: of ``CheckpointHook``. With a remote ``out_dir`` or with ``backend_args`` that storage writes as it
            does, and ``--resume`` without a name follows ``last_checkpoint``.

    Raises:
        ValueError: another ``data_changed``.
        CheckpointError: no whole checkpoint to resume from, or a damaged one was named.
        DataChangedError: the training data changed.
        PretrainedWeightsError: a new run would start from random weights that its config does not ask for.
        DiskFullError: no room for a checkpoint; earlier ones are whole.
    """

    def __init__(
        self,
        *args: Any,
        data_changed: str = 'error',
        repeat_validation: bool = True,
        start_from: str | None = None,
        **kwargs: Any,
    ) -> None:
        if data_changed not in ('error', 'warn'):
            raise ValueError(f"data_changed is {data_changed!r}; expected 'error' or 'warn'.")
        super().__init__(*args, **kwargs)
        self.data_changed = data_changed
        self.repeat_validation = repeat_validation
        self.start_from = start_from
        self._train_data: list[dict] | None = None
        self._wanted: list[dict] | None = None
        remote = '://' in str(self.out_dir or '')
        self._local = not remote and not self.backend_args and not self.file_client_args
        if self._local:
            self.backend_args = dict(backend=_BACKEND)
        if 0 < self.max_keep_ckpts < _LEAST_KEPT:
            print_log(
                f'max_keep_ckpts is {self.max_keep_ckpts}; {_LEAST_KEPT} checkpoints are kept: if the newest is '
                'damaged, the run goes on from the one before.',
                logger='current',
                level=logging.WARNING,
            )
            self.max_keep_ckpts = _LEAST_KEPT

    # ---- starting

    def before_run(self, runner: Runner) -> None:
        """Choose what is loaded, and what encoders start from otherwise; the runner loads after this."""
        training = isinstance(runner._train_loop, BaseLoop)
        if training:
            self._train_data = describe_data(runner.train_dataloader.dataset)
            # the checkpoint's are loaded over these; an OptimWrapperDict has no groups of its own
            optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
            self._wanted = optimizer and settings_of_groups(optimizer)
        if runner._has_loaded:
            return
        # one process looks: the others need not read the file too, and all must take the same
        found = [None, None]
        if is_main_process():
            try:
                found = [self._choose(runner, training), None]
            except CheckpointError as error:
                found = [None, str(error)]
        broadcast_object_list(found)
        if found[1]:
            raise CheckpointError(found[1])
        runner._load_from = found[0]
        if runner._resume and found[0] is None and self.start_from is not None:
            runner._resume, runner._load_from = False, self.start_from
            runner.logger.info(f'Nothing to resume yet: the run starts from the weights of {self.start_from}.')
        if training:
            prepare_starting_weights(runner.model, has_checkpoint=runner._load_from is not None)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare data and settings of a resumed run with what the checkpoint remembers."""
        if runner._resume and self._train_data is not None and _RUN in checkpoint.get('meta', {}):
            for change in changed_run(checkpoint['meta'][_RUN], describe_run(runner)):
                runner.logger.warning(change)
        earlier = checkpoint.get('meta', {}).get(_TRAIN_DATA) if runner._resume else None
        if earlier is None or self._train_data is None:
            return
        changed = differences(earlier, self._train_data)
        if not changed:
            return
        what = f'The training data changed since the checkpoint was saved: {"; ".join(changed)}.'
        if self.data_changed == 'error':
            raise DataChangedError(
                f'{what} Put the old data back; or start a new run (no --resume, another work '
                'folder); or go on with the new data: --cfg-options '
                'default_hooks.checkpoint.data_changed=warn.'
            )
        runner.logger.warning(f'{what} The run goes on with the new data.')

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if runner._resume and runner.iter > 0 and self._wanted:
            schedulers = runner.param_schedulers if isinstance(runner.param_schedulers, list) else []
            changes = apply_changed_settings(runner.optim_wrapper.optimizer, schedulers, self._wanted)
            if changes:
                runner.logger.warning(
                    f'Settings changed since the checkpoint, and apply from here: {"; ".join(changes)}.'
                )
        if self.repeat_validation and runner.iter > 0 and _validation_is_due(runner):
            runner.logger.info(
                f'A validation was due at step {runner.iter}, and the checkpoint has no result of it: it comes first.'
            )
            runner.val_loop.run()

    # ---- saving

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._train_data is not None:
            checkpoint['meta'][_TRAIN_DATA] = self._train_data
            checkpoint['meta'][_RUN] = describe_run(runner)

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        # before the best checkpoint is saved, for with it the last one is saved again
        runner.message_hub.update_info(_VALIDATED, runner.iter)
        super().after_val_epoch(runner, metrics)

    def _save_best_checkpoint(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        """mmengine removes the earlier best one first; here it goes when the new one is complete."""
        self.file_backend, backend = _RemoveLater(self.file_backend), self.file_backend
        try:
            super()._save_best_checkpoint(runner, metrics)
            self.file_backend.remove_now()
        finally:
            self.file_backend = backend

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, note it in ``last_checkpoint``, then remove what is too much."""
        outdated = None
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated = self.keep_ckpt_ids.popleft()
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        with atomic_write(Path(runner.work_dir) / LAST_CHECKPOINT) as file:
            file.write(str(self.last_ckpt).encode())
        if outdated is not None:
            _remove(self.file_backend, self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated)))

    # ----

    def _choose(self, runner: Runner, training: bool) -> str | None:
        """The file to load, in the main process."""
        if training:
            require_place_for_note(Path(runner.work_dir) / LAST_CHECKPOINT)
        named = runner._load_from
        if named is not None:
            if runner._resume and str(named).endswith('.safetensors'):
                raise CheckpointError(
                    f'{named} holds weights alone, and a run is resumed from its optimizer and its '
                    'place in the data, too. Give an iter_N.pth, or start from these weights with '
                    '--cfg-options load_from=FILE.'
                )
            if osp.isfile(named):
                require_whole(named)
            return named
        if not training:
            return None
        folder = runner.work_dir
        if self.out_dir is not None and self.out_dir != runner.work_dir:  # as in CheckpointHook.before_train
            folder = osp.join(self.out_dir, osp.basename(runner.work_dir.rstrip(osp.sep)))
        if not self._local:
            return None
        for place in {folder, runner.work_dir}:
            for path in remove_leftovers(place):
                runner.logger.info(f'Removed {path}, which a killed run left unfinished.')
        if not runner._resume:
            return None
        path = newest_whole(folder, self.filename_tmpl, runner.work_dir)
        if path is None and self.start_from is None:
            runner.logger.warning(f'There is nothing to resume from in {folder}: the run starts from the beginning.')
        return path and str(path)


class _RemoveLater:
    """A file backend that remembers what to remove."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._paths: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._paths.append(path)

    rmtree = remove

    def remove_now(self) -> None:
        for path in self._paths:
            _remove(self._backend, path)


def _remove(backend: Any, path: str) -> None:
    if backend.isfile(path):
        backend.remove(path)
    elif backend.isdir(path):  # of DeepSpeed
        backend.rmtree(path)


def _validation_is_due(runner: Runner) -> bool:
    """Whether a run that reached this step would validate before the next, and has not."""
    loop = runner.train_loop
    if runner.val_loop is None or runner.message_hub.runtime_info.get(_VALIDATED) == runner.iter:
        return False
    by_epoch = hasattr(loop, 'run_epoch')
    done, last = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    loop._decide_current_val_interval()
    return done > 0 and done >= loop.val_begin and (done % loop.val_interval == 0 or done == last)
