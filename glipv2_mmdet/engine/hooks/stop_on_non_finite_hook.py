"""Training stops before a loss or gradient that is no number reaches the weights, and keeps what it takes to see why.

mmdet's ``CheckInvalidLossHook`` looks every 50 steps, after the weights have changed: what it finds are weights that
are lost. Here every step is looked at, at the one place where the host waits for the device anyhow: the norm of the
gradient, before the optimizer moves. A loss that is not finite makes that norm NaN, on every rank, so one number
tells about all losses of all ranks and nobody is left waiting in a collective.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from glipv2_mmdet.dist import exchange_counts
from glipv2_mmdet.engine.stopped_step import RandomState, StepBatch, StoppedStep, save_step
from glipv2_mmdet.engine.tell_batch import tell_images

FOLDER = 'non_finite'


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is NaN or infinite; the weights are those before the step."""


@dataclass
class _Seen:
    """One batch of the step in progress."""

    iteration: int
    batch: Any
    random: RandomState
    losses: dict[str, Tensor] = field(default_factory=dict)
    autocast: str | None = None

    def bad_losses(self) -> dict[str, float]:
        """The host waits for the device here."""
        return {name: float(value) for name, value in self.losses.items() if not math.isfinite(float(value))}

    def saved(self) -> StepBatch:
        losses = {name: float(value) for name, value in self.losses.items()}
        return StepBatch(self.iteration, self.batch, self.random, losses, self.autocast)


@HOOKS.register_module()
class StopOnNonFiniteHook(Hook):
    """Raises ``NonFiniteError`` in a step whose losses or gradients are not finite, on every rank of the run.

    It saves ``<work_dir>/non_finite/iter_N_rank_R.pth`` for ``tools/replay_batch.py``: of the rank whose loss it was,
    or, where all losses are finite and gradients are not, of every rank.

    It works with any loop and with gradients that are accumulated. With loss scaling (``AmpOptimWrapper``) gradients
    that overflow are normal: the scaler leaves such a step out, and only ``max_skips`` of them in a row stop the run.
    A loss that is not finite always does. Without ``clip_grad`` the norm is computed for this check alone, and the host
    waits for it once per step.

    Args:
        max_files: files of a rank that are kept, the newest.
        max_skips: steps in a row that loss scaling may leave out. The scale of 65,536 is below 1 after 17.

    Raises:
        ValueError: a number below 1.
        NonFiniteError: while training, see above.
    """

    priority = 'VERY_HIGH'

    def __init__(self, max_files: int = 3, max_skips: int = 30) -> None:
        for name, value in (('max_files', max_files), ('max_skips', max_skips)):
            if value < 1:
                raise ValueError(
                    f'{name} of StopOnNonFiniteHook is {value}. Expected at least 1; to train without the '
                    'check, set default_hooks.non_finite=None.'
                )
        self.max_files = max_files
        self.max_skips = max_skips
        self._skipped = 0
        self._seen: deque[_Seen] = deque()
        self._step_is_over = False
        self._undo: list[Callable[[], None]] = []

    def before_train(self, runner: Runner) -> None:
        """From here on every forward pass and every clipping of gradients is looked at."""
        wrapper = runner.optim_wrapper
        wrappers = [wrapper] if isinstance(wrapper, OptimWrapper) else list(wrapper.values())
        # where nothing learns there is no step to end one
        self._seen = deque(maxlen=max(one._accumulative_counts for one in wrappers))
        handle = _plain_model(runner).register_forward_hook(self._look_at_losses, with_kwargs=True)
        self._undo = [
            handle.remove,
            *(_look_before_step(one, lambda norm, one=one: self._look_at_norm(runner, one, norm)) for one in wrappers),
        ]

    def after_train(self, runner: Runner) -> None:
        """Model and optimizer are as they were."""
        self._seen.clear()
        while self._undo:
            self._undo.pop()()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Remembers what the step is computed from."""
        if self._step_is_over:
            self._seen.clear()
            self._step_is_over = False
        self._seen.append(_Seen(runner.iter, data_batch, RandomState.now()))

    def _look_at_losses(self, model: nn.Module, _: tuple, arguments: Mapping[str, Any], output: Any) -> Any:
        """Remembers the losses; where one is not finite, the gradients become NaN. All of it on the device."""
        if not (self._seen and model.training and arguments.get('mode') == 'loss' and isinstance(output, dict)):
            return None
        seen, device = self._seen[-1], next(model.parameters()).device.type
        seen.losses = {name: _joined(value).detach() for name, value in output.items()}
        seen.autocast = (
            str(torch.get_autocast_dtype(device)).removeprefix('torch.') if torch.is_autocast_enabled(device) else None
        )
        finite = torch.stack([value.isfinite().all() for value in seen.losses.values()]).all()
        return _poisoned(output, torch.where(finite, 0.0, float('nan')), model)

    def _look_at_norm(self, runner: Runner, wrapper: OptimWrapper, norm: float) -> None:
        seen, self._step_is_over = list(self._seen), True
        if math.isfinite(norm):
            self._skipped = 0
            return
        # Every rank is here: the gradients, and so their norm, are the same on all of them.
        bad = [one for one in seen if one.bad_losses()]
        device = next(runner.model.parameters()).device
        guilty = [rank for rank, (flag,) in enumerate(exchange_counts((int(bool(bad)),), device)) if flag]
        scaler = getattr(wrapper, 'loss_scaler', None)
        if not guilty and scaler is not None and scaler.is_enabled():
            self._skipped += 1
            if self._skipped < self.max_skips:
                return
        try:
            saved = self._save(runner, bad[:1] or seen, norm) if bad or not guilty else ''
        finally:
            # a launcher ends all ranks when the first one fails, and would cut off the others' files
            barrier()
        raise NonFiniteError(self._message(runner, bad, guilty, norm, tell_images((bad or seen)[0].batch), saved))

    def _save(self, runner: Runner, seen: Sequence[_Seen], norm: float) -> str:
        """What became of the file; a full disk must not hide why training stopped."""
        settings = runner.cfg.get('model')
        step = StoppedStep(
            batches=[one.saved() for one in seen],
            rank=get_rank(),
            world_size=get_world_size(),
            gradient_norm=norm,
            weights=_plain_model(runner).state_dict(),
            model=settings.to_dict() if settings else None,
        )
        folder = Path(runner.work_dir) / FOLDER
        try:
            path = save_step(step, folder, self.max_files)
        except OSError as error:
            return f'The step could not be saved to {folder}: {error}'
        return f'Saved for another look: {path}\nRun: python tools/replay_batch.py {path}'

    def _message(
        self, runner: Runner, bad: Sequence[_Seen], guilty: Sequence[int], norm: float, images: str, saved: str
    ) -> str:
        where = f'Step {runner.iter + 1}, rank {get_rank()} of {get_world_size()}'
        if bad:
            losses = ', '.join(f'{name} is {value}' for name, value in bad[0].bad_losses().items())
            others = ', '.join(
                f'{name} {float(value):.4g}' for name, value in bad[0].losses.items() if math.isfinite(float(value))
            )
            what = f'{where}: {losses}' + (f' (finite: {others})' if others else '')
        elif guilty:
            what = (
                f'{where}: the losses of this rank are finite, those of rank {", ".join(map(str, guilty))} are not '
                '(the message and the file of that rank say more)'
            )
        elif self._skipped:
            what = (
                f'{where}: the gradient overflowed in {self._skipped} steps in a row (norm {norm}); lowering the '
                'loss scale did not help'
            )
        else:
            what = f'{where}: all losses are finite, but the gradient is not (norm {norm})'
        return '\n'.join(
            line
            for line in (
                f'{what}. Training stopped before the weights changed.',
                f'The batch: {images}',
                saved,
                'Where an image or its annotation is at fault, correct it or leave it out. Otherwise lower the '
                'learning rate, or train in bfloat16 instead of float16. Then go on with --resume.',
            )
            if line
        )


def _plain_model(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _joined(value: Tensor | Sequence[Tensor]) -> Tensor:
    """A loss as mmengine's ``parse_losses`` counts it: a mean, of lists the sum of means."""
    return value.mean() if isinstance(value, Tensor) else sum(item.mean() for item in value)


class _Poison(torch.autograd.Function):
    """Zero, whose gradient with respect to a parameter is ``poison``, 0 or NaN."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, poison: Tensor) -> Tensor:
        ctx.save_for_backward(poison)
        ctx.shape, ctx.dtype = parameter.shape, parameter.dtype
        return poison.new_zeros(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (poison,) = ctx.saved_tensors
        return (gradient * poison).to(ctx.dtype).expand(ctx.shape), None


def _poisoned(losses: Mapping[str, Any], poison: Tensor, model: nn.Module) -> dict[str, Any]:
    """One loss plus zero, with ``poison`` (0 or NaN) as its gradient with respect to a small parameter.

    The mean over ranks carries a NaN to all of them. Without that, an infinite sum with finite gradients would stop one
    rank and leave the others waiting. It does not go through the model, where every clamp would hold it up.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    names = [name for name in losses if 'loss' in name]
    if not learning or not names:
        return dict(losses)
    value = losses[names[0]]
    first = value if isinstance(value, Tensor) else value[0]
    first = first + _Poison.apply(min(learning, key=Tensor.numel), poison).to(first.dtype)
    return {**losses, names[0]: first if isinstance(value, Tensor) else [first, *value[1:]]}


def _look_before_step(wrapper: OptimWrapper, look: Callable[[float], None]) -> Callable[[], None]:
    """Let ``look`` see the norm of the gradient between the backward pass and the optimizer; returns what undoes it.

    ``clip_func`` is where mmengine computes that norm and reads it on the host. Reading it a moment earlier and handing
    on the number is no second wait.
    """
    given, earlier = wrapper.clip_grad_kwargs, getattr(wrapper, 'clip_func', None)
    clip = earlier if given else None
    gives_norm = clip is torch.nn.utils.clip_grad_norm_

    def looked(parameters: Iterable[nn.Parameter], **settings: Any) -> float | None:
        settings.pop('error_if_nonfinite', None)  # torch's own stop, which would save nothing
        settings.pop('only_looking', None)
        norm = float(clip(parameters, **settings) if gives_norm else _norm(parameters))
        look(norm)
        if gives_norm:
            return norm
        if clip is not None:
            clip(parameters, **settings)
        return None

    def undo() -> None:
        wrapper.clip_func, wrapper.clip_grad_kwargs = earlier, given

    wrapper.clip_func = looked
    if not given:
        wrapper.clip_grad_kwargs = dict(only_looking=True)
    return undo


def _norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    return torch.stack([parameter.grad.norm() for parameter in parameters]).norm()
