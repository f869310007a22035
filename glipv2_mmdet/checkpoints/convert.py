"""A file of GLIP weights, mmdet's or the original ones → a file with our names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from torch import nn

from glipv2_mmdet.checkpoints.glip_names import Conversion, to_ours
from glipv2_mmdet.checkpoints.load import load_weights, read_checkpoint, save_checkpoint, state_dict_of
from glipv2_mmdet.version import __version__


def convert_file(
    src: str | PathLike,
    out: str | PathLike,
    model: nn.Module | None = None,
    meta: Mapping[str, object] | None = None,
    trust: bool = False,
) -> Conversion:
    """Convert ``src`` into ``out``, which is written last and in one step.

    Args:
        src: GLIP checkpoint of mmdet or of the original code.
        out: file to write.
        model: has to take every tensor.
        meta: more about the source.
        trust: unpickle all of ``src``, see :func:`read_checkpoint`.

    Raises:
        FileNotFoundError: no such source.
        CheckpointError: no GLIP weights, or ``model`` needs others.
    """
    conversion = to_ours(state_dict_of(read_checkpoint(src, trust)))
    if model is not None:
        load_weights(model, conversion.state_dict)
    layout = conversion.layout
    save_checkpoint(
        out,
        conversion.state_dict,
        meta=dict(
            source=f'GLIP ({layout.source})',
            source_file=Path(src).name,
            source_sha256=sha256(src),
            early_fusion=layout.early_fusion,
            converter=f'glipv2_mmdet {__version__}',
            **(meta or {}),
        ),
    )
    return conversion


def sha256(file: str | PathLike) -> str:
    """Hash of a file's content, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(file, 'rb') as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
