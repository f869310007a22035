"""Fields of COCO records that labelling tools write in other forms: read where the meaning is plain, else refused.

pycocotools believes every field: ``"iscrowd": "0"`` is true, an annotation with id 0 never counts as found, and an
``area`` that is text fails in the middle of an evaluation.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from glipv2_mmdet.datasets.box_layout import refuse_corner_boxes
from glipv2_mmdet.datasets.record_checks import is_box, is_number, require_boxes, require_size
from glipv2_mmdet.text.prompt import shorten


class CocoFileError(ValueError):
    """A COCO json that would be misread; the message names file, record and value."""


def read_id(value: Any, place: str, field: str, error_type: type[ValueError] = CocoFileError) -> int | str:
    """An id of an image, category or annotation: 7, 7.0 and '7' are the same one; other texts stay as they are.

    Raises:
        error_type: neither a whole number nor a text.
    """
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        is_decimal = value.isascii() and value.isdecimal() and len(value) < 19 and str(int(value)) == value
        return int(value) if is_decimal else value
    raise error_type(
        f'{place} has "{field}" {shorten(repr(value))}; expected a whole number. Correct it, or export the file again.'
    )


def read_flag(value: Any, place: str, field: str, error_type: type[ValueError] = CocoFileError) -> int:
    """``iscrowd`` or ``ignore`` as 0 or 1; absent (None) is 0, and the texts '0' and '1' are read.

    Raises:
        error_type: anything else.
    """
    if value is None:
        return 0
    if (isinstance(value, (bool, int, float)) and value in (0, 1)) or (isinstance(value, str) and value in ('0', '1')):
        return int(value)
    raise error_type(f'{place} has "{field}" {shorten(repr(value))}; expected 0 or 1. Correct the annotation.')


def read_area(
    value: Any, box: Sequence[float], place: str, error_type: type[ValueError] = CocoFileError
) -> float | int:
    """Area in pixels; numbers as text are read, and an absent one, or 0, is that of the box.

    Args:
        value: of the file.
        box: (x, y, width, height).
        place: file and record, for the message.
        error_type: of the reader.

    Raises:
        error_type: no finite number, or a negative one.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass
    if value is None or (is_number(value) and value == 0):
        return box[2] * box[3]
    if not is_number(value, 0):
        raise error_type(
            f'{place} has "area" {shorten(repr(value))}; expected a number of pixels, 0 or more. Correct it, or delete '
            'the field: the area of the box takes its place.'
        )
    return value


def refuse_all_crowds(flags: Sequence[int], source: str, error_type: type[ValueError] = CocoFileError) -> None:
    """Refuse a file in which every box is a crowd: training leaves crowds out, and evaluation gives -1 without one.

    Raises:
        error_type: names the number of boxes.
    """
    if flags and all(flags):
        raise error_type(
            f'{source}: all {len(flags)} boxes are crowds ("iscrowd": 1), so there is nothing to learn and nothing to '
            'find. Set "iscrowd" to 0: some tools write 1 for every mask that is stored as run lengths.'
        )


def checked_content(content: Any, source: str) -> dict[str, Any]:
    """A COCO json whose records pycocotools and mmdet read as they were meant; it is changed in place.

    Ids become whole numbers, ``iscrowd`` and ``ignore`` 0 or 1, ``area`` a number. Where an annotation has no id, the
    id 0 or the id of another one, all annotations are numbered anew from 1.

    Args:
        content: parsed json.
        source: its file, for messages.

    Raises:
        CocoFileError: see the functions above; boxes written as corners; equal image ids; another layout.
    """
    if not isinstance(content, dict) or not isinstance(content.get('images'), list):
        raise CocoFileError(
            f'{source}: no list "images"; expected a COCO json with images, annotations and categories. Give the '
            'annotation file, not a file of results.'
        )
    sizes: dict[int | str, tuple[float, float]] = {}
    for number, image in enumerate(_records(content, 'images', source)):
        place = f'{source}: images[{number}]'
        image['id'] = read_id(image.get('id'), place, 'id')
        require_size(image.get('height'), image.get('width'), place, CocoFileError)
        if image['id'] in sizes:
            raise CocoFileError(f'{place} has the id {image["id"]} of another image; expected one entry per image.')
        sizes[image['id']] = image['width'], image['height']
    names: dict[int | str, str] = {}
    for number, category in enumerate(_records(content, 'categories', source)):
        place = f'{source}: categories[{number}]'
        category['id'] = read_id(category.get('id'), place, 'id')
        if not isinstance(category.get('name'), str):
            raise CocoFileError(f'{place} has "name" {shorten(repr(category.get("name")))}; expected a text.')
        if category['id'] in names:
            raise CocoFileError(
                f'{place} ("{shorten(category["name"])}") has the id {category["id"]} of category '
                f'"{shorten(names[category["id"]])}". Give each category an id of its own.'
            )
        names[category['id']] = category['name']
    if len({type(key) for key in names}) > 1:
        raise CocoFileError(f'{source}: category ids {list(names)[:8]} are texts and numbers. Write them as numbers.')
    annotations = _records(content, 'annotations', source)
    if annotations and 'segments_info' not in annotations[0]:  # panoptic files have no boxes here
        _check_annotations(annotations, sizes, names, source)
    return content


def _check_annotations(annotations: list[dict], sizes: dict, names: dict, source: str) -> None:
    """Fields of all annotations, in place."""
    unknown_image = unknown_category = 0
    boxes, frames = [], []
    for number, entry in enumerate(annotations):
        box = entry.get('bbox')
        if not is_box(box):
            require_boxes([box], f'{source}: annotations[{number}]', CocoFileError)
        # the usual form needs no text for a message: files have millions of annotations
        if type(entry.get('image_id')) is not int or type(entry.get('category_id')) is not int:
            place = f'{source}: annotations[{number}]'
            entry['image_id'] = read_id(entry.get('image_id'), place, 'image_id')
            entry['category_id'] = read_id(entry.get('category_id'), place, 'category_id')
        for field in ('iscrowd', 'ignore'):
            if (field in entry and type(entry[field]) is not int) or entry.get(field, 0) not in (0, 1):
                entry[field] = read_flag(entry[field], f'{source}: annotations[{number}]', field)
        entry['area'] = read_area(entry.get('area'), box, f'{source}: annotations[{number}]')
        unknown_category += entry['category_id'] not in names
        if entry['image_id'] in sizes:
            boxes.append(box)
            frames.append(sizes[entry['image_id']])
        else:
            unknown_image += 1
    refuse_all_crowds([entry.get('iscrowd', 0) for entry in annotations], source)
    refuse_corner_boxes(boxes, frames, source, CocoFileError)
    ids = [entry.get('id') for entry in annotations]
    if not all(type(key) is int and key > 0 for key in ids) or len(set(ids)) < len(ids):
        for number, entry in enumerate(annotations, start=1):
            entry['id'] = number
    for count, what, where in (
        (unknown_image, 'an image_id', 'images'),
        (unknown_category, 'a category_id', 'categories'),
    ):
        if count:
            print_log(
                f'{source}: {count} of {len(annotations)} annotations have {what} that is not in "{where}", and are '
                'left out.',
                logger='current',
                level=logging.WARNING,
            )


def _records(content: dict, key: str, source: str) -> list[dict]:
    """A list of objects; files of images without annotations lack two of the lists."""
    records = content.setdefault(key, [])
    if not isinstance(records, list):
        raise CocoFileError(f'{source}: "{key}" is {shorten(repr(records))}; expected a list of objects.')
    for number, entry in enumerate(records):
        if not isinstance(entry, dict):
            raise CocoFileError(f'{source}: {key}[{number}] is {shorten(repr(entry))}; expected an object.')
    return records
