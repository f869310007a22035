"""Reading, checking and writing checkpoints: every tensor is accounted for, nothing is left half-written."""
from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from glipv2_mmdet.checkpoints.glip_names import CheckpointError, detect_layout

#: Names in a message; the rest is a count.
NUM_LISTED = 5


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_weights` did.

    Attributes:
        loaded: tensors that were set.
        missing: tensors of the model the checkpoint does not have; all excused.
        unexpected: tensors of the checkpoint the model does not have; all excused.
    """
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def read_checkpoint(path: str | os.PathLike) -> dict:
    """The content of a checkpoint file, on the CPU, read weights-only.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it cannot be read, or holds more than weights and numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no checkpoint "{path}". Give the path of a file on this machine.')
    try:
        # a file of the current format is mapped: an optimizer state beside the weights then costs no memory
        return torch.load(path, map_location='cpu', weights_only=True, mmap=zipfile.is_zipfile(path))
    except (UnpicklingError, EOFError, RuntimeError) as error:
        raise CheckpointError(
            f'"{path}" cannot be read as weights: {str(error).splitlines()[0]} A download may be incomplete; '
            'a file that holds other Python objects has to be saved again with its weights alone.') from error


def state_dict_of(checkpoint: Mapping) -> dict[str, Tensor]:
    """The weights in a checkpoint: under ``state_dict`` (mmengine), ``model`` (original code), or the whole.

    Raises:
        CheckpointError: there are none.
    """
    weights = checkpoint
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            weights = checkpoint[key]
            break
    if not isinstance(weights, Mapping):
        got = type(weights).__name__
    elif weights and all(isinstance(value, Tensor) for value in weights.values()):
        return dict(weights)
    else:
        others = [str(name) for name, value in weights.items() if not isinstance(value, Tensor)]
        got = _listing(others) or 'nothing'
    raise CheckpointError(
        'Checkpoint holds no weights: expected tensors by name, alone or under "state_dict" or "model", got '
        f'{got}. Give a checkpoint of a trained model.')


def load_weights(model: nn.Module, state_dict: Mapping[str, Tensor], allow_missing: Sequence[str] = (),
                 allow_unexpected: Sequence[str] = ()) -> LoadReport:
    """Set the weights of ``model``; what does not fit and is not excused is one error, then nothing is set.

    Args:
        model: any module.
        state_dict: name to tensor.
        allow_missing: patterns such as ``'task_heads.*'`` of tensors that may keep their start values.
        allow_unexpected: patterns of tensors that may be ignored.

    Raises:
        CheckpointError: lists missing, unexpected and misshapen tensors; knows an unconverted GLIP file.
    """
    wanted = model.state_dict()
    problems = _foreign_source(state_dict, wanted)
    if problems:
        raise CheckpointError(problems)
    missing = [name for name in wanted if name not in state_dict]
    unexpected = [name for name in state_dict if name not in wanted]
    loaded = [name for name in wanted if name in state_dict]
    problems = [
        *_counted('the checkpoint lacks', _not_excused(missing, allow_missing)),
        *_counted('the model does not use', _not_excused(unexpected, allow_unexpected)),
        *_misshapen(wanted, state_dict)]
    if problems:
        listing = '\n'.join(f'- {problem}' for problem in problems)
        raise CheckpointError(
            f'This checkpoint does not fit {type(model).__name__}:\n{listing}\nUse the config it was trained '
            'with, or excuse tensors by name (allow_missing, allow_unexpected).')
    model.load_state_dict({name: state_dict[name] for name in loaded}, strict=False)
    print_log(f'Loaded {len(loaded)} tensors; {len(missing)} of the model kept their values, '
              f'{len(unexpected)} of the checkpoint were left out.', logger='current')
    return LoadReport(tuple(loaded), tuple(missing), tuple(unexpected))


def check_fits(model: nn.Module, state_dict: Mapping[str, Tensor], prefix: str = '') -> None:
    """Refuse a checkpoint of another architecture, before mmengine's lenient loading takes what it can.

    Missing parts are fine here (a new head, a backbone alone), and so are a few extra ones.

    Args:
        model: the module that is about to be loaded.
        state_dict: name to tensor.
        prefix: what stands before the model's own names in ``state_dict``.

    Raises:
        CheckpointError: an unconverted GLIP file, tensors of another shape, or most tensors have no place.
    """
    given = {name.removeprefix(prefix): tensor
             for name, tensor in state_dict.items() if name.startswith(prefix)}
    wanted = model.state_dict()
    problem = _foreign_source(given, wanted)
    if problem:
        raise CheckpointError(problem)
    problems = _misshapen(wanted, given)
    unexpected = [name for name in given if name not in wanted]
    if 2 * len(unexpected) > len(given):
        problems += _counted('the model does not use', unexpected)
    if problems:
        raise CheckpointError(
            f'This checkpoint does not fit {type(model).__name__}: {"; ".join(problems)}. '
            'Use the config it was trained with, or another checkpoint.')


def save_checkpoint(path: str | os.PathLike, state_dict: Mapping[str, Tensor], meta: dict) -> None:
    """Write ``{'state_dict', 'meta'}``, as mmengine reads it; the file appears complete or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        torch.save({'state_dict': dict(state_dict), 'meta': meta}, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _foreign_source(given: Iterable[str], wanted: Mapping[str, Tensor]) -> str | None:
    """The message for an unconverted GLIP file; None for anything else."""
    given = list(given)
    layout = detect_layout(given)
    if layout is None:
        return None
    unknown = [name for name in given if name not in wanted]
    kind = 'an original GLIP file' if layout.source == 'original' else "a file of mmdet's GLIP"
    return (f'Checkpoint has {_tensors(unknown)} this model does not use, for example "{unknown[0]}". '
            f'It looks like {kind}: convert it with tools/model_converters/glip_to_glipv2.py.')


def _misshapen(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    wrong = [f'"{name}" has shape {tuple(given[name].shape)}, the model needs {tuple(tensor.shape)}'
             for name, tensor in wanted.items() if name in given and given[name].shape != tensor.shape]
    if len(wrong) > NUM_LISTED:
        wrong = [*wrong[:NUM_LISTED], f'and {len(wrong) - NUM_LISTED} more of another shape']
    return wrong


def _counted(what: str, names: Sequence[str]) -> list[str]:
    return [f'{_tensors(names)} {what}: {_listing(names)}'] if names else []


def _tensors(names: Sequence[str]) -> str:
    return f'{len(names)} tensor{"s" if len(names) != 1 else ""}'


def _listing(names: Sequence[str]) -> str:
    more = ', ...' if len(names) > NUM_LISTED else ''
    return ', '.join(f'"{name}"' for name in names[:NUM_LISTED]) + more


def _not_excused(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]
