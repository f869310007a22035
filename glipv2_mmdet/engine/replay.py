"""Runs a stopped step again, on one process and without the data set, and looks where the first non-finite number is.

Order of the look: weights, images, outputs of modules in the order in which they come to be, losses, and, where all of
these are finite, gradients of those outputs in the order of the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from glipv2_mmdet.apis.pretrained_checks import checked_parts
from glipv2_mmdet.engine.stopped_step import StepBatch, StoppedStep
from glipv2_mmdet.models import MLMHead


@dataclass
class Replay:
    """What one batch of a step did when it was run again.

    Attributes:
        iteration: of the loop, from 0.
        saved_losses: as they were.
        losses: as they are now.
        bad_weights: names of parameters and buffers that are not finite.
        largest_weight: name of the parameter with the largest number in it, and that number without its sign.
        bad_inputs: positions of the images, after preprocessing, that are not finite.
        first_output: the first module whose output is not finite, ``'fusion.blocks.0.attention (BiAttention)'``; None:
            all are finite.
        first_gradient: in the order of the backward pass the first module with a finite output whose gradient is not;
            None: all are finite, or a loss is not.
        bad_gradients: names of parameters whose gradient is not finite.
    """

    iteration: int
    saved_losses: Mapping[str, float]
    losses: dict[str, float] = field(default_factory=dict)
    bad_weights: list[str] = field(default_factory=list)
    largest_weight: tuple[str, float] = ('', 0.0)
    bad_inputs: list[int] = field(default_factory=list)
    first_output: str | None = None
    first_gradient: str | None = None
    bad_gradients: list[str] = field(default_factory=list)

    @property
    def all_finite(self) -> bool:
        """Whether the step went well this time."""
        return not (
            self.bad_weights
            or self.bad_inputs
            or self.first_output
            or self.bad_gradients
            or not all(map(_is_finite, self.losses.values()))
        )


def replay(
    step: StoppedStep,
    model_settings: Mapping[str, Any] | None = None,
    device: str = 'cpu',
    detect_anomaly: bool = False,
) -> list[Replay]:
    """Every batch of the step, forward and backward; nothing is updated.

    Losses of a run of several processes are normalised with what the others counted, and ``loss_inter`` compares with
    their words: alone, those numbers are others, and what is not finite in this rank's own part still is not.

    Args:
        step: from :func:`~glipv2_mmdet.engine.stopped_step.load_step`.
        model_settings: ``model`` of a config, instead of that in the file.
        device: where to run.
        detect_anomaly: torch's own search in the backward pass, which raises an error that names the operation.

    Raises:
        ValueError: there are no settings of the model, or they are not of this package's or mmdet's parts.
        RuntimeError: with ``detect_anomaly``, a gradient is NaN.
    """
    model = _build(step, model_settings).to(device).train()
    with torch.autograd.set_detect_anomaly(detect_anomaly):
        return [_replay(model, batch, step.rank, device) for batch in step.batches]


def _build(step: StoppedStep, settings: Mapping[str, Any] | None) -> nn.Module:
    if settings is None:
        if step.model is None:
            raise ValueError('The file holds no settings of the model. Give the config of the run: --config CONFIG.')
        settings = checked_parts(step.model, 'The file of the step')
    model = MODELS.build(dict(settings))
    model.load_state_dict(dict(step.weights))
    return model


def _replay(model: nn.Module, batch: StepBatch, rank: int, device: str) -> Replay:
    found = Replay(batch.iteration, dict(batch.losses))
    found.bad_weights = [name for name, value in model.state_dict().items() if not _is_finite(value)]
    found.largest_weight = max(
        ((name, float(value.detach().abs().max())) for name, value in model.named_parameters() if value.numel()),
        key=lambda item: item[1],
        default=found.largest_weight,
    )
    for module in model.modules():
        if isinstance(module, MLMHead):
            module.repeat(batch.iteration, rank)
    batch.random.restore()
    autocast = (
        nullcontext()
        if batch.autocast is None
        else torch.autocast(torch.device(device).type, dtype=getattr(torch, batch.autocast))
    )
    handles = [module.register_forward_hook(_Watch(name, found)) for name, module in model.named_modules() if name]
    model.zero_grad()
    with autocast:
        data = model.data_preprocessor(batch.batch, True)
        found.bad_inputs = [i for i, image in enumerate(data['inputs']) if not _is_finite(image)]
        losses = model(**data, mode='loss')
    for handle in handles:
        handle.remove()
    total, values = model.parse_losses(losses)
    found.losses = {name: float(value.detach()) for name, value in values.items()}
    total.backward()
    found.bad_gradients = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not _is_finite(parameter.grad)
    ]
    if not _is_finite(total.detach()):  # then every gradient is bad, and says nothing
        found.first_gradient = None
    return found


class _Watch:
    """Looks at the outputs of a module, and at their gradients when these come."""

    def __init__(self, name: str, found: Replay) -> None:
        self.name, self.found = name, found

    def __call__(self, module: nn.Module, _: tuple, output: Any) -> None:
        title = f'{self.name} ({type(module).__name__})'
        for tensor in _tensors(output):
            if self.found.first_output is None and not _is_finite(tensor):
                self.found.first_output = title
            if tensor.requires_grad:
                tensor.register_hook(lambda gradient, title=title: self._look(title, gradient))

    def _look(self, title: str, gradient: Tensor) -> None:
        if self.found.first_gradient is None and not _is_finite(gradient):
            self.found.first_gradient = title


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in what a module gives: alone, in tuples, dicts, or fields of this package's structures."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif hasattr(value, '__dataclass_fields__'):
        yield from _tensors([getattr(value, name) for name in value.__dataclass_fields__])


def _is_finite(value: Tensor | float) -> bool:
    return bool(torch.as_tensor(value).isfinite().all())
