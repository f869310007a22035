"""A folder of your own images and boxes → checked COCO json files and class names.

What to tune on comes in many layouts (``own_data_formats``). Whatever the layout, all splits leave here with the same
categories in the same order, absolute image paths and boxes that can be used; what does not fit together is an error
that names the file, before anything is trained.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log

from glipv2_mmdet.datasets.box_layout import TOLERANCE, refuse_corner_boxes
from glipv2_mmdet.datasets.coco_records import refuse_all_crowds
from glipv2_mmdet.datasets.image_sizes import StatedSize, corrected_sizes
from glipv2_mmdet.datasets.own_data_files import is_file
from glipv2_mmdet.datasets.own_data_formats import SPLITS, OwnDataError, read_splits
from glipv2_mmdet.text import prompt_from_classes

#: Share of the training images that become the validation where a folder has none.
HELD_OUT = 5
#: Characters of a class name.
MAX_NAME = 200


@dataclass(frozen=True)
class OwnData:
    """A data set that is ready to be tuned on.

    Attributes:
        classes: names in label order.
        ann_files: COCO json by split: 'train', 'valid' and, if the folder has one, 'test'.
        warnings: what was noticed and did not stop anything.
    """

    classes: tuple[str, ...]
    ann_files: Mapping[str, Path]
    warnings: tuple[str, ...]


def prepare_own_data(folder: str | Path, out_dir: str | Path) -> OwnData:
    """Read ``folder`` in any of its layouts and write one COCO json per split into ``out_dir``.

    Args:
        folder: COCO (RoboFlow's ``train/ valid/ test/`` or ``annotations/`` + ``images/``), YOLO (``data.yaml``) or
            Pascal VOC (``Annotations/*.xml``).
        out_dir: is created.

    Raises:
        OwnDataError: no known layout; a file or field that cannot be read; categories that differ between splits; a
            box of an unknown category or image; a missing image file; a split without images; no box to train on.
        PromptError: class names that make no prompt, for example two equal ones.
    """
    splits = read_splits(Path(folder))
    taken = ', '.join(f'{name} from {content["source"]}' for name, content in splits.items())
    print_log(f'Data of "{folder}": {taken}.', logger='current')
    warnings: list[str] = []
    splits = {name: _without_background(content) for name, content in _drop_dummy(splits).items()}
    if 'valid' not in splits:
        splits = _hold_out(splits, warnings)
    classes = _common_classes(splits)
    prompt_from_classes(classes)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, content in splits.items():
        cleaned = _checked(content, name, classes, warnings)
        files[name] = out_dir / f'{name}.json'
        files[name].write_text(json.dumps(cleaned))
    for warning in warnings:
        print_log(warning, logger='current', level=logging.WARNING)
    return OwnData(classes, files, tuple(warnings))


def _drop_dummy(splits: dict[str, dict]) -> dict[str, dict]:
    """RoboFlow writes category 0 as a parent of the others; it is no class unless a box says so."""
    used = {box['category_id'] for content in splits.values() for box in content['annotations']}
    for content in splits.values():
        parents = {category.get('supercategory') for category in content['categories']}
        content['categories'] = [
            category
            for category in content['categories']
            if not (
                category['id'] == 0
                and 0 not in used
                and len(content['categories']) > 1
                and category.get('supercategory') == 'none'
                and category['name'] in parents
            )
        ]
    return splits


def _without_background(content: dict) -> dict:
    if not content['categories']:
        raise OwnDataError(f'{content["source"]} has no categories. Add the class names, or export it again.')
    return content


def _hold_out(splits: dict[str, dict], warnings: list[str]) -> dict[str, dict]:
    """Every fifth training image, by the hash of its name, becomes the validation."""
    train = splits['train']
    by_hash = sorted(train['images'], key=lambda image: hashlib.sha1(Path(image['file_name']).name.encode()).digest())
    held_out = {image['id'] for image in by_hash[: max(1, len(by_hash) // HELD_OUT)]}
    if len(by_hash) < 2:
        raise OwnDataError(
            f'{train["source"]} has {len(by_hash)} images and the folder no validation split. Add more '
            'images, or a folder "valid".'
        )
    warnings.append(
        f'The folder has no validation split: {len(held_out)} of {len(by_hash)} training images are held out for it.'
    )
    parts = {}
    for name, kept in (('train', False), ('valid', True)):
        parts[name] = dict(
            train,
            images=[image for image in train['images'] if (image['id'] in held_out) == kept],
            annotations=[box for box in train['annotations'] if (box['image_id'] in held_out) == kept],
        )
    return {**splits, **parts}


def _common_classes(splits: dict[str, dict]) -> tuple[str, ...]:
    """Names in the order of the training split, the same in all of them."""
    names = {
        split: [category['name'] for category in _in_order(content['categories'])] for split, content in splits.items()
    }
    train = names['train']
    long = next((name for split in names.values() for name in split if len(name) > MAX_NAME), None)
    if long is not None:
        raise OwnDataError(
            f'{splits["train"]["source"]}: a class name has {len(long)} characters ("{long[:60]}..."); expected at '
            f'most {MAX_NAME}. Name the class in a few words.'
        )
    for split, other in names.items():
        if set(other) != set(train):
            only_train, only_other = sorted(set(train) - set(other)), sorted(set(other) - set(train))
            raise OwnDataError(
                f'Categories of {splits["train"]["source"]} and {splits[split]["source"]} differ: only in train '
                f'{only_train[:5]}, only in {split} {only_other[:5]}. All splits need the same names: export them '
                'together, or rename the categories.'
            )
    return tuple(train)


def _in_order(categories: list[dict]) -> list[dict]:
    """By number; ids that are texts come last."""
    return sorted(categories, key=lambda item: (isinstance(item['id'], str), item['id']))


def _checked(content: dict, split: str, classes: tuple[str, ...], warnings: list[str]) -> dict:
    """The split with categories 1 to K in common order, whole annotations and only boxes that can be used."""
    source = content['source']
    names = {category['id']: category['name'] for category in content['categories']}
    ids = {name: number for number, name in enumerate(classes, start=1)}
    images = {image['id']: image for image in content['images']}
    if len(names) < len(content['categories']):
        twice = next(k for k, count in Counter(item['id'] for item in content['categories']).items() if count > 1)
        raise OwnDataError(f'{source}: several categories have the id {twice}. Give each an id of its own.')
    _check_images(content, source)
    _check_sizes(content, source, warnings)
    annotations, unusable, clipped, counts = [], 0, 0, Counter()
    for box in content['annotations']:
        place = f'{source}, annotation {box.get("id")}'
        if box['category_id'] not in names:
            raise OwnDataError(
                f'{place} has category_id {box["category_id"]}; the categories of the file have the '
                f'ids {list(names)}. Add the category, or correct the annotation.'
            )
        if box['image_id'] not in images:
            raise OwnDataError(
                f'{place} belongs to image {box["image_id"]}, which is not in "images". Add the image, '
                'or remove the annotation.'
            )
        image = images[box['image_id']]
        x, y, width, height = map(float, box['bbox'])
        edges = x, y, x + width, y + height
        right, bottom = min(edges[2], image['width']), min(edges[3], image['height'])
        x, y = max(x, 0.0), max(y, 0.0)
        if right - x < 1 or bottom - y < 1:
            unusable += 1
            continue
        clipped += any(abs(a - b) > TOLERANCE for a, b in zip(edges, (x, y, right, bottom), strict=True))
        name = names[box['category_id']]
        counts[name] += 1
        annotations.append(
            dict(
                box,
                id=len(annotations) + 1,
                category_id=ids[name],
                bbox=[x, y, right - x, bottom - y],
                area=box.get('area') or (right - x) * (bottom - y),
                iscrowd=box.get('iscrowd', 0),
            )
        )
    if split == 'train' and not annotations:
        raise OwnDataError(f'{source} has no usable box, so there is nothing to learn. Check the annotations.')
    refuse_all_crowds([box['iscrowd'] for box in annotations], source, OwnDataError)
    if clipped:
        warnings.append(
            f'{source}: {clipped} of {len(annotations)} boxes leave their image by more than a pixel, and are clipped.'
        )
    if unusable:
        warnings.append(f'{source}: {unusable} boxes are smaller than a pixel or outside their image, and left out.')
    empty = [f'"{name}"' for name in classes if not counts[name]]
    if len(empty) == 1:
        warnings.append(f'{source}: category {empty[0]} has no box.')
    elif empty:
        more = ', ...' if len(empty) > 5 else ''
        warnings.append(f'{source}: {len(empty)} categories have no box: {", ".join(empty[:5])}{more}.')
    return dict(
        images=list(images.values()),
        annotations=annotations,
        categories=[dict(id=number, name=name) for name, number in ids.items()],
    )


def _check_sizes(content: dict, source: str, warnings: list[str]) -> None:
    """Sizes of the upright images in place of exchanged ones; boxes that are corners are refused."""
    boxes: dict[object, list] = {image['id']: [] for image in content['images']}
    for box in content['annotations']:
        boxes.get(box['image_id'], []).append(box['bbox'])
    stated = [
        StatedSize(image['file_name'], image['width'], image['height'], boxes[image['id']])
        for image in content['images']
    ]
    known = [box for box in content['annotations'] if box['image_id'] in boxes]
    frames = {image['id']: (image['width'], image['height']) for image in content['images']}
    refuse_corner_boxes(
        [box['bbox'] for box in known], [frames[box['image_id']] for box in known], source, OwnDataError
    )
    sizes, more = corrected_sizes(stated, source, OwnDataError)
    warnings += more
    for place, (width, height) in sizes.items():
        content['images'][place].update(width=width, height=height)


def _check_images(content: dict, source: str) -> None:
    if not content['images']:
        raise OwnDataError(f'{source} has no images. Fill the split, or remove it.')
    twice = [key for key, count in Counter(image['id'] for image in content['images']).items() if count > 1]
    if twice:
        raise OwnDataError(
            f'{source}: {len(twice)} image ids occur more than once, for example {twice[0]}. Expected '
            'one entry per image: export the file again.'
        )
    missing = [image['file_name'] for image in content['images'] if not is_file(Path(image['file_name']))]
    if missing:
        slash = 'Write / instead of \\ in "file_name". ' if '\\' in missing[0] else ''
        raise OwnDataError(
            f'{source}: {len(missing)} of {len(content["images"])} image files are missing, for '
            f'example "{missing[0][:300]}". {slash}Put the images there, or remove them from the file.'
        )


__all__ = ['SPLITS', 'OwnData', 'OwnDataError', 'prepare_own_data']
