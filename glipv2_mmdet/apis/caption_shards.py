"""Shards of image-text pairs: each record is judged by itself, and a bad one is skipped instead of ending the run.

Among millions of pairs some are broken, and a run that ends at one of them ends there again after every restart.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glipv2_mmdet.datasets.image_text_stream import import_webdataset
from glipv2_mmdet.datasets.odvg_records import ODVGError, Place, parse_line
from glipv2_mmdet.printable import printable
from glipv2_mmdet.text.prompt import shorten

_IMAGE_SUFFIXES = ('jpg', 'jpeg', 'png', 'webp')
#: Bytes of an encoded image; larger ones are no photos.
_MAX_IMAGE_BYTES = 200_000_000


@dataclass(frozen=True)
class Pair:
    """An image with its caption.

    Args:
        key: name of the pair, the image's file name for jsonl shards.
        caption: free text.
        image: encoded JPEG or PNG.
        place: shard and line, or shard and name, for messages.
    """

    key: str
    caption: str
    image: bytes
    place: str = ''


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used.

    Args:
        place: shard and line, or shard and name.
        reason: what was found, and what was expected.
    """

    place: str
    reason: str


def read_pairs(shard: str | Path, image_root: str | Path = '') -> Iterator[Pair | BadRecord]:
    """The records of a shard in its order; one in memory at a time.

    Args:
        shard: ``.jsonl`` with ``{"filename", "caption"}`` per line, or ``.tar`` (WebDataset: an image with ``.txt``, or
            ``.json`` with "caption").
        image_root: folder of the images of a jsonl shard.

    Raises:
        ValueError: another kind of file.
    """
    shard = Path(shard)
    if shard.suffix == '.jsonl':
        yield from _jsonl_pairs(shard, Path(image_root))
    elif shard.suffix == '.tar':
        yield from _tar_pairs(shard)
    else:
        raise ValueError(f'{shard}: expected a shard that ends in .jsonl or .tar.')


def read_regular_file(path: Path, max_bytes: int = _MAX_IMAGE_BYTES) -> bytes:
    """Content of a file; folders, pipes and devices are never opened.

    Raises:
        OSError: it is no regular file, is too large, or cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f'"{path}" is no regular file')
    if status.st_size > max_bytes:
        raise OSError(f'"{path}" has {status.st_size:,} bytes, more than {max_bytes:,}')
    return path.read_bytes()


def _jsonl_pairs(shard: Path, image_root: Path) -> Iterator[Pair | BadRecord]:
    with open(shard, 'rb') as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = Place(str(shard), number)
            try:
                record = parse_line(line, place)
                name, caption = _field(record, 'filename', place), _field(record, 'caption', place)
                image = read_regular_file(image_root / name)
            except ODVGError as error:
                yield _bad(place, error)
            except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
                yield _bad(place, f'the image cannot be read ({error})')
            else:
                yield Pair(name, caption, image, _name(place))


def _tar_pairs(shard: Path) -> Iterator[Pair | BadRecord]:
    wds = import_webdataset()
    # the whole path: webdataset runs a name that begins with "pipe:" as a command
    for item in wds.WebDataset([str(shard.resolve())], shardshuffle=False, nodesplitter=lambda shards: shards):
        place = Place(str(shard), item['__key__'])
        try:
            caption = _tar_caption(item, place)
            image = next((item[suffix] for suffix in _IMAGE_SUFFIXES if suffix in item), None)
            if image is None:
                members = sorted(name for name in item if name[0] != '_')
                raise place.error(f'members {members}', f'an image ({", ".join(_IMAGE_SUFFIXES)})', 'Add it.')
        except ODVGError as error:
            yield _bad(place, error)
        else:
            yield Pair(item['__key__'], caption, image, _name(place))


def _tar_caption(item: Mapping[str, bytes], place: Place) -> str:
    if 'txt' not in item:
        return _field(parse_line(item.get('json', b'{}'), place), 'caption', place)
    try:
        return item['txt'].decode('utf-8')
    except UnicodeDecodeError as error:
        raise place.error(f'a caption in another encoding ({error})', 'UTF-8', 'Write it again.') from error


def _field(record: Any, key: str, place: Place) -> str:
    """A text of a record."""
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, str) or not value:
        raise place.error(
            shorten(repr(record)),
            f'an object with "filename" and "caption", both texts ("{key}" is none)',
            'Correct it.',
        )
    return value


def _bad(place: Place, reason: object) -> BadRecord:
    return BadRecord(_name(place), printable(str(reason)))


def _name(place: Place) -> str:
    return f'{place.file}:{place.record}'
