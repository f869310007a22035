"""What a run trains on, in some hundred bytes: a resumed run on other data would be no continuation.

A record per data set: class, number of samples, and size and digest of its annotation files. Nothing is said of
images: a missing or broken one is found when it is loaded (``ReplaceFailedSamples``).
"""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from glipv2_mmdet.datasets.line_offsets import LineReader

#: Larger files are judged by their size and this many blocks, evenly spaced from the first byte to the last.
_WHOLE_BYTES, _BLOCKS, _BLOCK_BYTES = 64 << 20, 64, 1 << 20


class DataChangedError(RuntimeError):
    """The training data are not those that the checkpoint was made with; the text says what differs."""


def describe_data(dataset: Any) -> list[dict[str, Any]]:
    """A record per data set, wrappers and concatenations opened; of plain values, so that a checkpoint can carry it."""
    return [
        dict(
            dataset=type(leaf).__name__,
            samples=len(leaf) if hasattr(leaf, '__len__') else None,
            files=[describe_file(path) for path in _files(leaf)] + _describe_shards(leaf),
        )
        for leaf in _leaves(dataset)
    ]


def differences(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """What changed, a sentence part per data set; empty when nothing did. Files that only moved are the same."""
    if len(before) != len(now):
        return [f'{len(before)} data sets before, {len(now)} now']
    return [text for old, new in zip(before, now, strict=True) if (text := _difference(old, new))]


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old['dataset'] != new['dataset']:
        return f'{old["dataset"]} before, {new["dataset"]} now'
    changed = [
        f'{now[0]} has other content ({was[1]} bytes before, {now[1]} now)'
        for was, now in zip(old['files'], new['files'], strict=False)
        if list(was[1:]) != list(now[1:])
    ]
    if len(old['files']) != len(new['files']):
        changed.append(f'{new["dataset"]}: {len(old["files"])} annotation files before, {len(new["files"])} now')
    if old['samples'] != new['samples']:
        where = '' if changed else f'{new["files"][0][0] if new["files"] else new["dataset"]} gives other records: '
        changed.append(f'{where}{old["samples"]} samples before, {new["samples"]} now')
    return ', '.join(changed)


def _leaves(dataset: Any) -> Iterator[Any]:
    """The data sets that read files."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _leaves(part)
    elif isinstance(getattr(dataset, 'dataset', None), Dataset):
        yield from _leaves(dataset.dataset)
    else:
        yield dataset


def _files(leaf: Any) -> Iterator[str]:
    """Local files that a data set names in its attributes ``..._file``, or reads line by line."""
    root = getattr(leaf, 'data_root', None) or ''
    for name, value in sorted(vars(leaf).items()):
        if isinstance(value, LineReader):
            yield str(value.path)
        elif name.endswith('_file'):
            for path in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []:
                found = next((place for place in (path, osp.join(root, path)) if osp.isfile(place)), None)
                if found:
                    yield found


def describe_file(path: str) -> list:
    """``[path, bytes, digest]``; of files above 64 MiB 64 blocks of 1 MiB are read."""
    size, digest = osp.getsize(path), blake2b(digest_size=16)
    with open(path, 'rb') as file:
        if size <= _WHOLE_BYTES:
            starts, length = range(0, size, _BLOCK_BYTES), _BLOCK_BYTES
        else:
            starts, length = [(size - _BLOCK_BYTES) * k // (_BLOCKS - 1) for k in range(_BLOCKS)], _BLOCK_BYTES
        for start in starts:
            file.seek(start)
            digest.update(file.read(length))
    return [path, size, digest.hexdigest()]


def _describe_shards(leaf: Any) -> list[list]:
    """Shards of a stream by name and size: they hold the images, reading them would take hours."""
    shards = getattr(leaf, 'shards', None)
    if not shards:
        return []
    sizes = [osp.getsize(shard) if osp.isfile(shard) else 0 for shard in shards]
    digest = blake2b(
        repr([(Path(shard).name, size) for shard, size in zip(shards, sizes, strict=True)]).encode(), digest_size=16
    )
    return [[f'{len(shards)} shards from {shards[0]}', sum(sizes), digest.hexdigest()]]
