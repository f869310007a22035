"""Readers of the layouts that labelling tools export: COCO json, YOLO, Pascal VOC.

Each split leaves as COCO content (``images`` with absolute ``file_name``, ``annotations``, ``categories``) with its
file under ``source``; nothing is judged here but what cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glipv2_mmdet.datasets.coco_records import read_area, read_flag, read_id
from glipv2_mmdet.datasets.own_data_files import (
    SPELLINGS,
    SPLITS,
    OwnDataError,
    files_of_splits,
    is_file,
    splits_in,
)
from glipv2_mmdet.datasets.own_data_voc import read_voc
from glipv2_mmdet.datasets.own_data_yolo import read_yolo
from glipv2_mmdet.datasets.record_checks import read_json, require_boxes, require_size
from glipv2_mmdet.text.prompt import shorten

_COCO_FILES = ('_annotations.coco.json', 'annotations_without_background.json')
#: Images of a file by which its folder is recognised.
_LOOKED_FOR = 50


def read_splits(folder: Path) -> dict[str, dict]:
    """Splits of a folder in whatever layout it has.

    Raises:
        OwnDataError: no known layout, no training split, or a file that cannot be read.
    """
    for reader in (_read_roboflow, _read_coco, read_yolo, read_voc):
        splits = reader(folder)
        if splits:
            if 'train' not in splits:
                raise OwnDataError(f'"{folder}" has {" and ".join(splits)} but no training split. Expected "train".')
            return splits
    if is_file(folder):
        raise OwnDataError(f'"{folder}" is a file; expected the folder of the data: "{folder.parent}".')
    found = sorted(path.name for path in folder.iterdir())[:8] if folder.is_dir() else 'no such folder'
    raise OwnDataError(
        f'"{folder}" has no known layout (found: {found}). Expected train/_annotations.coco.json (and valid/), '
        'annotations/train.json with images/, data.yaml (YOLO), or Annotations/*.xml (VOC).'
    )


def _read_roboflow(folder: Path) -> dict[str, dict]:
    """``train/ valid/ test/``, each with its images and its json."""
    splits = {}
    for split, spellings in SPELLINGS.items():
        for file in (folder / spelling / name for spelling in spellings for name in _COCO_FILES):
            if is_file(file):
                splits[split] = _coco_content(file, [file.parent])
                break
    return splits


def _read_coco(folder: Path) -> dict[str, dict]:
    """``annotations/*train*.json`` and so on, images in ``images/`` or in a folder of the split's name."""
    files = [file for file in sorted((folder / 'annotations').glob('*.json')) if is_file(file)]
    splits = {}
    for split, file in files_of_splits(files, folder / 'annotations').items():
        roots = [
            folder / 'images',
            *(folder / 'images' / name for name in SPELLINGS[split]),
            *sorted(path for path in folder.iterdir() if path.is_dir() and splits_in(path.name) == [split]),
            folder,
        ]
        splits[split] = _coco_content(file, roots)
    return splits


def _coco_content(file: Path, roots: list[Path]) -> dict:
    content = read_json(str(file), OwnDataError, 'Export the file again.', unique_keys=True)
    missing = [
        key
        for key in ('images', 'annotations', 'categories')
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if missing:
        raise OwnDataError(
            f'{file}: no list "{missing[0]}"; expected a COCO json with images, annotations and '
            'categories. Export the data as COCO detection.'
        )
    for key, fields in (
        ('images', ('id', 'file_name', 'width', 'height')),
        ('categories', ('id', 'name')),
        ('annotations', ('image_id', 'category_id', 'bbox')),
    ):
        for number, entry in enumerate(content[key]):
            if not isinstance(entry, dict):
                raise OwnDataError(
                    f'{file}: {key}[{number}] is {str(entry)[:60]!r}; expected an object. Export the file again.'
                )
            if absent := [field for field in fields if field not in entry]:
                raise OwnDataError(f'{file}: {key}[{number}] has no "{absent[0]}". Export the file again.')
            _check_entry(key, entry, f'{file}: {key}[{number}]')
    root = _image_root([image['file_name'] for image in content['images'][:_LOOKED_FOR]], roots).resolve()
    images = [dict(image, file_name=str(root / image['file_name'])) for image in content['images']]
    return dict(images=images, annotations=content['annotations'], categories=content['categories'], source=str(file))


def _image_root(names: Sequence[str], roots: Sequence[Path]) -> Path:
    """The folder that has most of the images; the first of equal ones."""
    return max(roots, key=lambda root: sum(is_file(root / name) for name in names))


def _check_entry(key: str, entry: dict, place: str) -> None:
    """Types of what is read later, in place; the values are judged with the whole split."""
    for field in ('image_id', 'category_id') if key == 'annotations' else ('id',):
        entry[field] = read_id(entry[field], place, field, OwnDataError)
    if key == 'images':
        if not isinstance(entry['file_name'], str):
            raise OwnDataError(
                f'{place} has "file_name" {shorten(repr(entry["file_name"]))}; expected a text. Export the file again.'
            )
        require_size(entry['height'], entry['width'], place, OwnDataError)
    elif key == 'categories':
        if not isinstance(entry['name'], str):
            raise OwnDataError(
                f'{place} has "name" {shorten(repr(entry["name"]))}; expected a text. Export the file again.'
            )
    else:
        require_boxes([entry['bbox']], place, OwnDataError)
        entry['area'] = read_area(entry.get('area'), entry['bbox'], place, OwnDataError)
        entry['iscrowd'] = read_flag(entry.get('iscrowd'), place, 'iscrowd', OwnDataError)
        if 'ignore' in entry:
            entry['ignore'] = read_flag(entry['ignore'], place, 'ignore', OwnDataError)


__all__ = ['SPLITS', 'OwnDataError', 'read_splits']
