"""Reads the three layouts in which captions of images come, and tells them apart by what is in the file.

In: a json file. Out: one :class:`CaptionedImage` per image. The data set draws its samples from them, the metric its
references, so that both always mean the same captions by the same file.
"""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glipv2_mmdet.datasets.record_checks import read_json, reading, require_size
from glipv2_mmdet.text.prompt import shorten

FORMATS = (
    'Expected one of: Karpathy\'s {"images": [{"filepath", "filename", "cocoid", "split", "sentences": [{"raw"}]}]}; '
    'a list of {"image", "caption": text or list of texts} as BLIP has it; COCO\'s {"images": [{"id", "file_name"}], '
    '"annotations": [{"image_id", "caption"}]}'
)


class CaptionFileError(ValueError):
    """A caption file that cannot be used; the message names file, place, what was expected and the fix."""


@dataclass(frozen=True)
class CaptionedImage:
    """One image and what people said about it.

    Attributes:
        image_id: COCO's number where there is one, otherwise the file's name without ending.
        file_name: relative to the image folder; None where the file does not name it (BLIP's ground truth files).
        captions: without surrounding blanks, at least one letter or digit in each; may be empty.
        size: (height, width) where the file gives it.
    """

    image_id: int | str
    file_name: str | None
    captions: tuple[str, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class CaptionFile:
    """All images of a file, or of the asked splits, in its order, and how many captions had no word in them."""

    images: tuple[CaptionedImage, ...]
    num_empty: int


def read_caption_file(path: str, splits: Sequence[str] | None = None, backend_args: dict | None = None) -> CaptionFile:
    """Reads any of the three layouts.

    Args:
        path: json file.
        splits: names in the field "split" of a Karpathy file ('train', 'restval', 'val', 'test'); None takes every
            image. Files of the other layouts are one split each and ignore it.
        backend_args: as in mmengine.

    Raises:
        FileNotFoundError: there is no such file.
        CaptionFileError: not json, another layout, a record without its fields, an unknown split, no image, an image
            twice, or an annotation of an image that the file does not list.
    """
    content = read_json(path, CaptionFileError, f'{FORMATS}. Download the file again.', backend_args)
    dropped: Counter[str] = Counter()
    with reading(path, CaptionFileError, f'{FORMATS}.'):
        images = _reader_of(content, path)(content, path, splits, dropped)
    if not images:
        raise CaptionFileError(f'{path}: no images. {FORMATS}. Check the path.')
    _check_images(images, path, are_unique=isinstance(content, dict))
    return CaptionFile(tuple(images), dropped['empty'])


def _check_images(images: Sequence[CaptionedImage], path: str, are_unique: bool) -> None:
    for image in images:
        place = f'{path}, image {image.image_id!r}'
        if not isinstance(image.image_id, (int, str)) or not isinstance(image.file_name, (str, type(None))):
            raise CaptionFileError(f'{place}: file name {shorten(repr(image.file_name))}. {FORMATS}.')
        if image.size is not None:
            require_size(*image.size, place, CaptionFileError)
    # ids of BLIP's lists are names of files, of which two folders may have the same
    twice = are_unique and [image for image, count in Counter(image.image_id for image in images).items() if count > 1]
    if twice:
        raise CaptionFileError(
            f'{path}: image {twice[0]!r} is there twice; expected one entry per image. Put its captions together.'
        )


def _reader_of(content: Any, path: str) -> Any:
    if isinstance(content, list):
        if content and isinstance(content[0], dict) and {'image', 'caption'} <= set(content[0]):
            return _read_blip
    elif isinstance(content, dict) and isinstance(content.get('images'), list):
        if isinstance(content.get('annotations'), list):
            return _read_coco
        if content['images'] and 'sentences' in content['images'][0]:
            return _read_karpathy
    found = (
        f'the keys {sorted(content)[:8]}'
        if isinstance(content, dict)
        else (
            f'a list that starts with {str(content[:1])[:80]}' if isinstance(content, list) else type(content).__name__
        )
    )
    raise CaptionFileError(f'{path}: unknown layout, {found}. {FORMATS}.')


def _read_karpathy(content: dict, path: str, splits: Sequence[str] | None, dropped: Counter) -> list[CaptionedImage]:
    known = {image['split'] for image in content['images']}
    wrong = set(splits or ()) - known
    if wrong:
        raise CaptionFileError(
            f'{path}: split {sorted(wrong)[0]!r} is not in it; expected some of {sorted(known)}. Correct "splits".'
        )
    images = []
    for image in content['images']:
        if splits is None or image['split'] in splits:
            name = osp.join(image.get('filepath', ''), image['filename'])
            texts = [sentence['raw'] for sentence in image['sentences']]
            images.append(CaptionedImage(image.get('cocoid', _id_of(name)), name, _clean(texts, dropped)))
    return images


def _read_blip(content: list, path: str, splits: Sequence[str] | None, dropped: Counter) -> list[CaptionedImage]:
    """A training list has a record per caption, an evaluation list one per image."""
    captions: dict[str, list[str]] = {}
    for record in content:
        texts = record['caption'] if isinstance(record['caption'], list) else [record['caption']]
        captions.setdefault(record['image'], []).extend(texts)
    return [CaptionedImage(_id_of(name), name, _clean(texts, dropped)) for name, texts in captions.items()]


def _read_coco(content: dict, path: str, splits: Sequence[str] | None, dropped: Counter) -> list[CaptionedImage]:
    captions: dict[Any, list[str]] = {image['id']: [] for image in content['images']}
    for entry in content['annotations']:
        if entry['image_id'] not in captions:
            raise CaptionFileError(
                f'{path}: a caption of image {entry["image_id"]}, which "images" does not list; expected a file that '
                'holds both. Write the file again.'
            )
        captions[entry['image_id']].append(entry['caption'])
    return [
        CaptionedImage(
            image['id'],
            image.get('file_name'),
            _clean(captions[image['id']], dropped),
            (image['height'], image['width']) if 'height' in image and 'width' in image else None,
        )
        for image in content['images']
    ]


def _clean(texts: Sequence[str], dropped: Counter) -> tuple[str, ...]:
    """Captions in one line without surrounding blanks; those without a word are counted and left out."""
    texts = [' '.join(text.split()) for text in texts]
    kept = tuple(text for text in texts if any(map(str.isalnum, text)))
    dropped['empty'] += len(texts) - len(kept)
    return kept


def _id_of(name: str) -> int | str:
    """'val2014/COCO_val2014_000000000777.jpg' -> 777; a name that does not end in a number stays."""
    stem = osp.splitext(osp.basename(name))[0]
    number = stem.rsplit('_', 1)[-1]
    return int(number) if number.isascii() and number.isdigit() else stem
