"""The file that prompt tuning saves, and the fingerprint of the weights it belongs to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from glipv2_mmdet.files import atomic_write

#: What a prompt passes through; other heads of a model may come and go.
BASE_PARTS = ('backbone', 'language_model', 'neck', 'fusion', 'bbox_head')
_FORMAT = 'glipv2_mmdet tuned prompt, version 1'


class TunedPromptError(ValueError):
    """A tuned prompt that cannot be used here; the text says why and what to do."""


@dataclass(frozen=True, eq=False)
class TunedPrompt:
    """A tuned prompt, as it is saved.

    Attributes:
        residuals: per chunk (T, C); one (max_tokens, C) for the positional form.
        token_ids: per chunk the T tokens the residual belongs to; empty for the positional form.
        names: classes in label order; empty for the positional form.
        overrides: words that stand for a class instead of its name.
        chunked_size: most names per chunk, -1 for no limit of this kind.
        fingerprint: of the base weights, see :func:`base_fingerprint`.
        base: the checkpoint they came from, for messages.
    """

    residuals: tuple[Tensor, ...]
    token_ids: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    overrides: Mapping[str, Mapping[str, str]]
    chunked_size: int
    fingerprint: str
    base: str

    @property
    def title(self) -> str:
        """What it is for, in a few words."""
        if not self.names:
            return 'phrases that differ per image'
        return f'{len(self.names)} classes ({", ".join(self.names[:3])}{", ..." if len(self.names) > 3 else ""})'

    def check_base(self, fingerprint: str) -> None:
        """Refuse other base weights than it was tuned on.

        Raises:
            TunedPromptError: they are others.
        """
        if fingerprint != self.fingerprint:
            raise TunedPromptError(
                f'The prompt for {self.title} was tuned on other weights: on those of "{self.base}" with fingerprint '
                f'{self.fingerprint}, this model has {fingerprint}. Load that checkpoint, or tune a prompt for this '
                'one.'
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write a safetensors file; it appears complete or not at all."""
        path = Path(path)
        content = dict(
            token_ids=self.token_ids,
            names=self.names,
            overrides=self.overrides,
            chunked_size=self.chunked_size,
            fingerprint=self.fingerprint,
            base=self.base,
        )
        # as bytes: written by the library itself, the file would be readable for its owner only
        data = save(
            {f'residuals.{number}': residual.contiguous() for number, residual in enumerate(self.residuals)},
            metadata=dict(format=_FORMAT, content=json.dumps(content)),
        )
        with atomic_write(path, size=len(data)) as file:
            file.write(data)

    @classmethod
    def load(cls, path: str | os.PathLike) -> TunedPrompt:
        """Read a file that :meth:`save` wrote; an unchanged file gives the same object again.

        Raises:
            FileNotFoundError: there is no such file.
            TunedPromptError: it is something else.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f'There is no tuned prompt "{path}". Give the .safetensors file of a prompt tuning run.'
            )
        status = path.stat()
        key = str(path.resolve()), status.st_mtime_ns, status.st_size
        with _LOADING:
            if key not in _LOADED:
                if len(_LOADED) == _MAX_LOADED:
                    del _LOADED[next(iter(_LOADED))]
                _LOADED[key] = _read(path)
            return _LOADED[key]


# an image of a batch may name its prompt by file: it must not be read for every image
_LOADED: dict[tuple[str, int, int], TunedPrompt] = {}
_MAX_LOADED = 64
_LOADING = Lock()


def _read(path: Path) -> TunedPrompt:
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            residuals = tuple(
                file.get_tensor(f'residuals.{number}')
                for number in range(len(file.keys()))
                if metadata.get('format') == _FORMAT
            )
    except SafetensorError as error:
        raise TunedPromptError(
            f'"{path}" is no safetensors file ({error}). Give the file that a prompt tuning run '
            'saved; a checkpoint is loaded by init_detector.'
        ) from error
    if metadata.get('format') != _FORMAT:
        raise TunedPromptError(
            f'"{path}" has the format {metadata.get("format")!r}; expected "{_FORMAT}". Give the '
            'file that a prompt tuning run saved.'
        )
    try:
        content = json.loads(metadata['content'])
        tuned = TunedPrompt(
            residuals=residuals,
            token_ids=tuple(map(tuple, content['token_ids'])),
            names=tuple(content['names']),
            overrides=content['overrides'],
            chunked_size=content['chunked_size'],
            fingerprint=content['fingerprint'],
            base=content['base'],
        )
        is_complete = (
            bool(residuals)
            and all(residual.ndim == 2 and residual.is_floating_point() for residual in residuals)
            and all(isinstance(name, str) for name in tuned.names)
            and isinstance(tuned.overrides, Mapping)
            and type(tuned.chunked_size) is int
            and isinstance(tuned.fingerprint, str)
            and isinstance(tuned.base, str)
            and all(type(token) is int for tokens in tuned.token_ids for token in tokens)
            and bool(tuned.names) == bool(tuned.token_ids)
            and (not tuned.names or [len(tokens) for tokens in tuned.token_ids] == [len(part) for part in residuals])
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise TunedPromptError(
            f'What "{path}" says about itself cannot be read ({type(error).__name__}: {error}). '
            'Give the file as a prompt tuning run saved it.'
        ) from error
    if not is_complete:
        raise TunedPromptError(
            f'"{path}" is not whole: classes, tokens and residuals do not belong together. Give '
            'the file as a prompt tuning run saved it.'
        )
    return tuned


@torch.no_grad()
def base_fingerprint(model: nn.Module) -> str:
    """16 hexadecimal digits over name, type, shape and bytes of every tensor a prompt passes through.

    The same on every device. A model in another precision is another model.
    """
    digest = blake2b(digest_size=8)
    for part in BASE_PARTS:
        for name, tensor in sorted(getattr(model, part).state_dict().items()):
            digest.update(f'{part}.{name} {tensor.dtype} {tuple(tensor.shape)};'.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
