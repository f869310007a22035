"""The file of a training step that was stopped: batch, weights, random numbers; complete or not there at all.

It is read by torch's weights-only loading: nothing in it runs. So the model's settings are in it as plain values, not
as the text of a config, which is a program.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glipv2_mmdet.engine.plain_data import from_plain, to_plain
from glipv2_mmdet.files import atomic_write

FORMAT = 'glipv2_mmdet stopped step 1'


@dataclass(frozen=True)
class RandomState:
    """Where all random number generators of a process were.

    Attributes:
        torch_cpu: of torch on the host.
        torch_cuda: of torch on the current GPU; None without one.
        numpy_state: of numpy.
        python_state: of Python.
    """

    torch_cpu: Tensor
    torch_cuda: Tensor | None
    numpy_state: tuple
    python_state: tuple

    @classmethod
    def now(cls) -> RandomState:
        """No work of the device is waited for."""
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
        return cls(torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())

    def restore(self) -> None:
        """Every generator goes back to there; that of a GPU where there is one."""
        torch.set_rng_state(self.torch_cpu)
        if self.torch_cuda is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.torch_cuda)
        np.random.set_state(self.numpy_state)
        random.setstate(self.python_state)


@dataclass(frozen=True)
class StepBatch:
    """One batch that went through the model; several make a step where gradients are accumulated.

    Attributes:
        iteration: of the loop, from 0.
        batch: as the data loader gave it.
        random: before the forward pass.
        losses: name -> value.
        autocast: dtype of mixed precision, such as ``'bfloat16'``; None for none.
    """

    iteration: int
    batch: Any
    random: RandomState
    losses: Mapping[str, float]
    autocast: str | None


@dataclass(frozen=True)
class StoppedStep:
    """Everything that a step was computed from.

    Attributes:
        batches: those of the step.
        rank: of the process.
        world_size: number of processes.
        gradient_norm: of the parameters, over all ranks.
        weights: state of the model before the step.
        model: its settings, None where they are not plain values.
    """

    batches: Sequence[StepBatch]
    rank: int
    world_size: int
    gradient_norm: float
    weights: Mapping[str, Tensor]
    model: dict | None


def save_step(step: StoppedStep, folder: Path, max_files: int) -> Path:
    """Write ``folder/iter_N_rank_R.pth`` (N counts from 1); of a rank's files the newest ``max_files`` stay.

    Raises:
        OSError: the file cannot be written; nothing of it is left behind.
    """
    path = folder / f'iter_{step.batches[-1].iteration + 1}_rank_{step.rank}.pth'
    plain = dict(
        format=FORMAT,
        rank=step.rank,
        world_size=step.world_size,
        gradient_norm=step.gradient_norm,
        weights={name: to_plain(value) for name, value in step.weights.items()},
        model=to_plain(step.model),
        batches=[_batch_apart(batch) for batch in step.batches],
    )
    with atomic_write(path) as file:
        torch.save(plain, file)
    others = sorted(
        (other for other in folder.glob(f'iter_*_rank_{step.rank}.pth') if other != path),
        key=lambda other: other.stat().st_mtime_ns,
        reverse=True,
    )
    for other in others[max_files - 1 :]:
        other.unlink()
    return path


def load_step(path: str | Path) -> StoppedStep:
    """Read such a file; tensors are on the host.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is another kind of file, or of another version.
    """
    plain = torch.load(path, map_location='cpu', weights_only=True)
    if not isinstance(plain, dict) or plain.get('format') != FORMAT:
        raise ValueError(
            f'"{path}" is no file of a stopped step. Expected iter_N_rank_R.pth from the folder '
            'non_finite of a work folder, written by this version of glipv2_mmdet.'
        )
    return StoppedStep(
        batches=[_batch_together(batch) for batch in plain['batches']],
        rank=plain['rank'],
        world_size=plain['world_size'],
        gradient_norm=plain['gradient_norm'],
        weights=plain['weights'],
        model=from_plain(plain['model']),
    )


def _batch_apart(batch: StepBatch) -> dict:
    state = batch.random
    random_state = dict(
        torch_cpu=state.torch_cpu,
        torch_cuda=state.torch_cuda,
        numpy_state=to_plain(state.numpy_state),
        python_state=to_plain(state.python_state),
    )
    return dict(
        iteration=batch.iteration,
        batch=to_plain(batch.batch),
        random=random_state,
        losses=dict(batch.losses),
        autocast=batch.autocast,
    )


def _batch_together(plain: dict) -> StepBatch:
    random_state = plain['random']
    return StepBatch(
        iteration=plain['iteration'],
        batch=from_plain(plain['batch']),
        losses=plain['losses'],
        autocast=plain['autocast'],
        random=RandomState(
            random_state['torch_cpu'],
            random_state['torch_cuda'],
            from_plain(random_state['numpy_state']),
            from_plain(random_state['python_state']),
        ),
    )
