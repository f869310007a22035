"""What a fine-tuning run was made from: a run that is found in its folder is only reused for the same inputs.

``made_from.json`` beside the figures holds classes, digests of data, base and config, and every setting that changes
the result.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from glipv2_mmdet.apis.finetuning_config import FinetuneSettings
from glipv2_mmdet.datasets.own_data import OwnData
from glipv2_mmdet.engine.data_fingerprint import describe_file
from glipv2_mmdet.files import atomic_write
from glipv2_mmdet.text.prompt import shorten

RECORD, RESULT = 'made_from.json', 'result.json'
#: What an unfinished run leaves that was paid for.
_UNFINISHED = ('*.pth', '*.safetensors', 'last_checkpoint')
_SETTINGS = ('mode', 'shots', 'seed', 'overrides', 'steps', 'lr', 'batch_size', 'evaluations')
#: Of these only a digest is kept, so only that they differ can be said.
_DIGESTS = ('config', 'base', 'data')


class OtherRunError(ValueError):
    """The folder has a run of other inputs; the text names what differs."""


def describe_run(settings: FinetuneSettings, data: OwnData) -> dict[str, Any]:
    """Everything that decides the result of a run, as plain json; files by size and digest, wherever they lie."""
    base = Path(settings.base)
    config = Config.fromfile(settings.config).to_dict()
    return _plain(
        dict(
            classes=data.classes,
            **{name: getattr(settings, name) for name in _SETTINGS},
            config=_digest(json.dumps(config, default=repr, sort_keys=True)),
            base=describe_file(str(base))[1:] if base.is_file() else str(settings.base),
            data={split: _digest_of_data(Path(file)) for split, file in sorted(data.ann_files.items())},
        )
    )


def check_reuse(settings: FinetuneSettings, data: OwnData, resume: bool) -> None:
    """Refuse a run folder that this call must not use; changes nothing.

    Args:
        settings, data: of the run.
        resume: keep a finished run, and go on with an unfinished one.

    Raises:
        FileExistsError: there is a run, and ``resume`` was not given.
        OtherRunError: there is a run of other classes, data, base, config or settings.
    """
    folder = settings.run_dir
    finished = (folder / RESULT).is_file()
    left = sorted(path.name for pattern in _UNFINISHED for path in folder.glob(pattern))
    if not finished and not left:
        return
    if not resume:
        what = 'a finished run' if finished else f'an unfinished run ({shorten(", ".join(left))})'
        use = 'keep it' if finished else 'go on with it'
        raise FileExistsError(
            f'"{folder}" has {what}. Give --resume to {use}, another folder with --work-dir, or remove this one.'
        )
    before = _read(folder)
    if not before:
        print_log(
            f'"{folder}" does not say what its run was made from: an earlier version wrote it. It is reused unseen.',
            logger='current',
            level=logging.WARNING,
        )
    now = describe_run(settings, data)
    changed = [_difference(key, before[key], now[key]) for key in now if key in before and before[key] != now[key]]
    if changed:
        raise OtherRunError(
            f'"{folder}" has a run of other inputs: {"; ".join(changed)}. Put them back, or give another folder with '
            '--work-dir, or remove this one to train anew.'
        )


def write_record(settings: FinetuneSettings, data: OwnData) -> None:
    """Note what the run of this folder is made from."""
    with atomic_write(settings.run_dir / RECORD) as file:
        file.write(f'{json.dumps(describe_run(settings, data), indent=1)}\n'.encode())


def move_data(data: OwnData, folder: Path) -> OwnData:
    """Put prepared data into the folder of the runs, whole file by whole file, once they are known to fit."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {split: Path(file).replace(folder / Path(file).name) for split, file in data.ann_files.items()}
    return replace(data, ann_files=files)


def _read(folder: Path) -> dict[str, Any]:
    """The record; of a finished run of an earlier version what its figures tell."""
    record, result = folder / RECORD, folder / RESULT
    if record.is_file():
        return json.loads(record.read_text(encoding='utf-8'))
    if result.is_file():
        content = json.loads(result.read_text(encoding='utf-8'))
        return {key: content[key] for key in ('classes', 'mode', 'shots', 'seed') if key in content}
    return {}


def _difference(key: str, before: Any, now: Any) -> str:
    if key == 'data':
        splits = [split for split in sorted({*before, *now}) if before.get(split) != now.get(split)]
        return f'the data have other content ({", ".join(splits)})'
    if key in _DIGESTS:
        return f'the {key} has other content'
    return f'{key} {shorten(json.dumps(before))} before, {shorten(json.dumps(now))} now'


def _digest_of_data(file: Path) -> str:
    """Of what is annotated; the folder of the images may have moved."""
    content = json.loads(file.read_text(encoding='utf-8'))
    images = [{**image, 'file_name': Path(image['file_name']).name} for image in content['images']]
    return _digest(json.dumps({**content, 'images': images}, sort_keys=True))


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As json gives it back: tuples as lists."""
    return json.loads(json.dumps(values))
