"""A model as a folder that needs nothing else: weights, config, vocabulary. Opening it runs no code from it.

``config.json`` holds the resolved model and test pipeline. Beyond plain json it knows two marks:
``{"__tuple__": [...]}``, because mmcv tells tuples from lists, and ``{"__file__": name}`` for what lies beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from glipv2_mmdet.apis.pretrained_checks import check_config, without_start_weights
from glipv2_mmdet.checkpoints import CheckpointError
from glipv2_mmdet.models import GLIPv2
from glipv2_mmdet.printable import printable
from glipv2_mmdet.text.tokenize import SHIPPED_VOCABS
from glipv2_mmdet.version import __version__

CONFIG, WEIGHTS, PROMPT, README = 'config.json', 'model.safetensors', 'prompt.safetensors', 'README.md'
VOCAB, TEXT_ENCODER = 'vocab', 'text_encoder'
_FORMAT = 'glipv2_mmdet'


@dataclass(frozen=True)
class PretrainedFolder:
    """What a folder of :func:`save_pretrained` says.

    Attributes:
        model: config of the detector, paths resolved.
        pipeline: steps of the test pipeline.
        weights: the safetensors file.
    """

    model: dict[str, Any]
    pipeline: tuple[dict[str, Any], ...]
    weights: Path


def is_pretrained(path: str | PathLike) -> bool:
    """Whether ``path`` is a folder of :func:`save_pretrained`."""
    return (Path(path) / CONFIG).is_file()


def check_pretrained(path: str | PathLike) -> None:
    """Complain about a folder that has no model.

    Raises:
        FileNotFoundError: it has none.
    """
    if not is_pretrained(path):
        raise FileNotFoundError(
            f'"{path}" is no folder of a model: it has no {CONFIG}. Make one with '
            'GLIPv2Inferencer(...).save_pretrained(folder).'
        )


def save_pretrained(
    model: GLIPv2, config: Mapping[str, Any], pipeline: Sequence[Mapping[str, Any]], folder: str | PathLike
) -> None:
    """Write a model as a folder; it appears complete or not at all.

    Args:
        model: with the weights to save.
        config: the model was built from.
        pipeline: its test pipeline.
        folder: new or empty.

    Raises:
        FileExistsError: the folder has files.
        CheckpointError: the config holds something that json cannot.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f'"{folder}" is there and not empty. Give a new folder.')
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f'{folder.name}.part'))
    try:
        content = {
            'format': _FORMAT,
            'version': __version__,
            'model': _encode(_with_files(model, config, temporary), 'model'),
            'pipeline': _encode(list(pipeline), 'pipeline'),
        }
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
        save_file(weights, temporary / WEIGHTS, metadata={'format': 'pt'})
        (temporary / CONFIG).write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
        (temporary / README).write_text(_readme(model), encoding='utf-8')
        # both are made for their owner alone, and a model is for others
        temporary.chmod(0o777 & ~_umask())
        (temporary / WEIGHTS).chmod(0o666 & ~_umask())
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_pretrained(folder: str | PathLike) -> PretrainedFolder:
    """The content of a folder of :func:`save_pretrained`; weights are not read yet.

    Raises:
        CheckpointError: the folder is damaged, of another program, or asks for something that no model has.
    """
    folder = Path(folder)
    file = folder / CONFIG
    _check_inside(folder)
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:  # among them UnicodeDecodeError, and numbers of 5,000 digits
        raise CheckpointError(
            f'"{file}" is no json that can be read ({printable(str(error))}). The copy of the folder may be incomplete.'
        ) from error
    if not isinstance(content, dict) or content.get('format') != _FORMAT or not {'model', 'pipeline'} <= content.keys():
        raise CheckpointError(
            f'"{file}" was not written by save_pretrained of glipv2_mmdet: expected "format": '
            f'"{_FORMAT}" with "model" and "pipeline".'
        )
    if not _is_pipeline(content['pipeline']):
        raise CheckpointError(
            f'"{file}" has another layout than save_pretrained writes: expected "pipeline" as a list '
            'of objects with "type". The file was changed; copy the folder again.'
        )
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f'"{folder}" has a {CONFIG} and no {WEIGHTS}. The copy of the folder may be incomplete.')
    check_config(content, file)
    model, pipeline = (_decode(content[key], folder) for key in ('model', 'pipeline'))
    return PretrainedFolder(model, tuple(pipeline), folder / WEIGHTS)


def _check_inside(folder: Path) -> None:
    """Refuse links that lead out of a folder, whose targets would be read, and copied by ``save_pretrained``.

    In the cache of Hugging Face every file is a link to ``blobs`` beside the snapshots; those are fine.

    Raises:
        CheckpointError: names the link.
    """
    inside = [folder.resolve()]
    if folder.absolute().parent.name == 'snapshots':
        inside.append((folder.absolute().parents[1] / 'blobs').resolve())
    for path in folder.rglob('*'):
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in inside):
            raise CheckpointError(
                f'"{printable(str(path))}" is a link that leads out of the folder. A model folder reads no file '
                'outside; copy the file in its place if you trust it.'
            )


def _is_pipeline(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(step, dict) and 'type' in step for step in value)


def _with_files(model: GLIPv2, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The config with every file it names copied into ``folder``."""
    # the folder has the weights, and may name no other file
    config = without_start_weights(config)
    words = config['language_model']
    # the path that was opened; an absent one means the shipped vocabulary
    vocab = model.language_model.tokenizer.vocab
    words['vocab'] = _copy(SHIPPED_VOCABS.get(vocab, Path(vocab)), folder)
    if isinstance(words.get('config'), (str, PathLike)):
        (folder / TEXT_ENCODER).mkdir()
        shutil.copyfile(Path(words['config']) / CONFIG, folder / TEXT_ENCODER / CONFIG)
        words['config'] = {'__file__': TEXT_ENCODER}
    if config.get('vqa_head') and model.vqa_head.answers is not None:
        config['vqa_head'] = {**config['vqa_head'], 'answers': list(model.vqa_head.answers)}
    config['tuned_prompt'] = None
    if model.tuned_prompt is not None:
        model.tuned_prompt.save(folder / PROMPT)
        config['tuned_prompt'] = {'__file__': PROMPT}
    return config


def _copy(source: Path, folder: Path) -> dict[str, str]:
    if source.is_dir():
        shutil.copytree(source, folder / VOCAB)
        return {'__file__': VOCAB}
    shutil.copyfile(source, folder / source.name)
    return {'__file__': source.name}


def _encode(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _encode(item, f'{place}.{key}') for key, item in value.items()}
    if isinstance(value, tuple):
        return {'__tuple__': [_encode(item, place) for item in value]}
    if isinstance(value, list):
        return [_encode(item, place) for item in value]
    if isinstance(value, PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise CheckpointError(
        f'The config has {value!r} ({type(value).__name__}) under {place}, which json cannot hold. '
        'Expected numbers, texts, lists and dicts.'
    )


def _decode(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_decode(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {'__tuple__'} and isinstance(value['__tuple__'], list):
        return tuple(_decode(item, folder) for item in value['__tuple__'])
    if value.keys() == {'__file__'}:
        name = value['__file__']
        if not isinstance(name, str) or Path(name).name != name or name == '..' or not (folder / name).exists():
            raise CheckpointError(
                f'"{folder / CONFIG}" names the file {name!r}, which is not in the folder. The copy '
                'of the folder may be incomplete.'
            )
        return str(folder / name)
    return {key: _decode(item, folder) for key, item in value.items()}


def _umask() -> int:
    """Only readable by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _readme(model: GLIPv2) -> str:
    tasks = ['detect', 'ground'] if model.vqa_head is None or model.vqa_head.grounded else []
    tasks += [
        task
        for task, head in (('segment', model.mask_head), ('ask', model.vqa_head), ('caption', model.caption_head))
        if head is not None
    ]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"""---
library_name: glipv2_mmdet
tags: [glipv2, grounding, object-detection]
---

# A GLIPv2 model

{parameters:,} parameters; for: {', '.join(tasks)}. Written by glipv2_mmdet {__version__}.

```python
from glipv2_mmdet import GLIPv2Inferencer

model = GLIPv2Inferencer('path/of/this/folder')
```

Still to be said here: the training data and its licences, figures with the command that measures them, and limits.
"""
