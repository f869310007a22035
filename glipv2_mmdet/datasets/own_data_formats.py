"""Readers of the layouts that labelling tools export: COCO json, YOLO, Pascal VOC.

Each split leaves as COCO content (``images`` with absolute ``file_name``, ``annotations``, ``categories``) with its
file under ``source``; nothing is judged here but what cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import yaml

from glipv2_mmdet.datasets.record_checks import is_number, read_json, require_boxes, require_size
from glipv2_mmdet.image_reading import ImageInputError, read_head

SPLITS = ('train', 'valid', 'test')
_SPELLINGS = {'train': ('train',), 'valid': ('valid', 'val'), 'test': ('test',)}
_COCO_FILES = ('_annotations.coco.json', 'annotations_without_background.json')
_IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'}


class OwnDataError(ValueError):
    """A data folder that cannot be used; the message names file, value and fix."""


def read_splits(folder: Path) -> dict[str, dict]:
    """Splits of a folder in whatever layout it has.

    Raises:
        OwnDataError: no known layout, no training split, or a file that cannot be read.
    """
    for reader in (_read_roboflow, _read_coco, _read_yolo, _read_voc):
        splits = reader(folder)
        if splits:
            if 'train' not in splits:
                raise OwnDataError(f'"{folder}" has {" and ".join(splits)} but no training split. Expected "train".')
            return splits
    found = sorted(path.name for path in folder.iterdir())[:8] if folder.is_dir() else 'no such folder'
    raise OwnDataError(
        f'"{folder}" has no known layout (found: {found}). Expected train/_annotations.coco.json (and valid/), '
        'annotations/train.json with images/, data.yaml (YOLO), or Annotations/*.xml (VOC).'
    )


def _read_roboflow(folder: Path) -> dict[str, dict]:
    """``train/ valid/ test/``, each with its images and its json."""
    splits = {}
    for split, spellings in _SPELLINGS.items():
        for file in (folder / spelling / name for spelling in spellings for name in _COCO_FILES):
            if file.is_file():
                splits[split] = _coco_content(file, [file.parent])
                break
    return splits


def _read_coco(folder: Path) -> dict[str, dict]:
    """``annotations/*train*.json`` and so on, images in ``images/`` or in a folder of the split's name."""
    splits = {}
    files = sorted((folder / 'annotations').glob('*.json'))
    for split, spellings in _SPELLINGS.items():
        matching = [file for file in files if any(spelling in file.stem.lower() for spelling in spellings)]
        if len(matching) > 1:
            exact = [file for file in matching if file.stem.lower() in spellings]
            if len(exact) != 1:
                raise OwnDataError(
                    f'{len(matching)} files in "{folder / "annotations"}" could be the {split} split: '
                    f'{[file.name for file in matching]}. Name the right one {spellings[0]}.json.'
                )
            matching = exact
        if matching:
            roots = [
                folder / 'images',
                *(folder / 'images' / name for name in spellings),
                *sorted(path for path in folder.iterdir() if path.is_dir() and path.name.startswith(spellings)),
                folder,
            ]
            splits[split] = _coco_content(matching[0], roots)
    return splits


def _coco_content(file: Path, roots: list[Path]) -> dict:
    content = read_json(str(file), OwnDataError, 'Export the file again.')
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
    names = [image['file_name'] for image in content['images'][:1]]
    root = next((root for root in roots if all((root / name).is_file() for name in names)), roots[0]).resolve()
    images = [dict(image, file_name=str(root / image['file_name'])) for image in content['images']]
    return dict(images=images, annotations=content['annotations'], categories=content['categories'], source=str(file))


def _check_entry(key: str, entry: dict, place: str) -> None:
    """Types of what is read later; the values are judged with the whole split."""
    for field in ('id', 'image_id', 'category_id'):
        is_id = isinstance(entry.get(field), (int, str)) and not isinstance(entry.get(field), bool)
        # a box needs no id
        if field in entry and not is_id and not (key == 'annotations' and field == 'id'):
            raise OwnDataError(
                f'{place} has "{field}" {str(entry[field])[:60]!r}; expected a number. Export the file again.'
            )
    if key == 'images':
        if not isinstance(entry['file_name'], str):
            raise OwnDataError(
                f'{place} has "file_name" {str(entry["file_name"])[:60]!r}; expected a text. Export the file again.'
            )
        require_size(entry['height'], entry['width'], place, OwnDataError)
    elif key == 'categories':
        if not isinstance(entry['name'], str):
            raise OwnDataError(
                f'{place} has "name" {str(entry["name"])[:60]!r}; expected a text. Export the file again.'
            )
    else:
        require_boxes([entry['bbox']], place, OwnDataError)


def _read_yolo(folder: Path) -> dict[str, dict]:
    """``data.yaml`` with names and image folders; labels lie in ``labels`` where images lie in ``images``."""
    file = next((folder / name for name in ('data.yaml', 'dataset.yaml') if (folder / name).is_file()), None)
    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding='utf-8'))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OwnDataError(f'{file}: not yaml ({error}). Export the data again.') from error
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise OwnDataError(f'{file}: no "names"; expected the class names as a list, or by number.')
    if not all(str(number).isdecimal() and isinstance(name, (str, int, float)) for number, name in names.items()):
        raise OwnDataError(f'{file}: "names" is {str(names)[:60]}; expected the class names as a list, or by number.')
    wrong = [
        key
        for key in ('path', *_SPELLINGS['train'], *_SPELLINGS['valid'], *_SPELLINGS['test'])
        if not isinstance(content.get(key, ''), (str, type(None)))
    ]
    if wrong:
        raise OwnDataError(f'{file}: "{wrong[0]}" is {str(content[wrong[0]])[:60]!r}; expected the path of one folder.')
    splits = {}
    for split, spellings in _SPELLINGS.items():
        given = next((content[name] for name in spellings if content.get(name)), None)
        # RoboFlow writes ../train/images for a folder beside the yaml file
        candidates = (
            []
            if given is None
            else [folder / (content.get('path') or '') / given, folder / given, folder / str(given).removeprefix('../')]
        )
        candidates += [folder / name / 'images' for name in spellings] + [folder / 'images' / n for n in spellings]
        images = next((path for path in candidates if path.is_dir()), None)
        if images is not None:
            splits[split] = _yolo_content(images.resolve(), names, file)
        elif given is not None and split != 'test':
            raise OwnDataError(f'{file}: "{split}" is "{given}", and there is no such folder. Correct the path.')
    return splits


def _yolo_content(images: Path, names: dict[int, str], file: Path) -> dict:
    entries, annotations = [], []
    for number, path in enumerate(_image_files(images)):
        width, height = _size(path)
        entries.append(dict(id=number, file_name=str(path), width=width, height=height))
        label = _label_file(path)
        if label.is_file():  # no file: nothing in the image
            annotations += [
                dict(id=f'{label.name}:{line}', image_id=number, category_id=category, bbox=box)
                for line, category, box in _yolo_boxes(label, width, height)
            ]
    categories = [dict(id=int(number), name=str(name)) for number, name in names.items()]
    return dict(images=entries, annotations=annotations, categories=categories, source=f'{file} ({images})')


def _label_file(image: Path) -> Path:
    """Beside the image, with ``labels`` for the last ``images`` of its path."""
    parts = list(image.with_suffix('.txt').parts)
    if 'images' in parts:
        parts[len(parts) - 1 - parts[::-1].index('images')] = 'labels'
    return Path(*parts)


def _yolo_boxes(label: Path, width: int, height: int) -> Iterator[tuple[int, int, list[float]]]:
    """(line, category, COCO box) of each line: a box as centre and size, or a polygon, in fractions of the image."""
    for line, text in enumerate(_text_of(label).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            category, *numbers = text.split()
            category, numbers = int(category), [float(number) for number in numbers]
        except ValueError as error:
            raise OwnDataError(f'{label}:{line}: "{text[:60]}"; expected a class number and coordinates.') from error
        if not all(map(is_number, numbers)):
            raise OwnDataError(f'{label}:{line}: "{text[:60]}"; expected finite numbers. Correct or delete the line.')
        if len(numbers) == 4:
            x, y, w, h = numbers
            box = [x - w / 2, y - h / 2, w, h]
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:
            xs, ys = numbers[::2], numbers[1::2]
            box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        else:
            raise OwnDataError(
                f'{label}:{line}: {len(numbers)} coordinates; expected 4 (centre x, y, width, height) '
                'or the points of a polygon.'
            )
        yield line, category, [box[0] * width, box[1] * height, box[2] * width, box[3] * height]


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise OwnDataError(f'{file}: not UTF-8 ({error}). Save the file as UTF-8.') from error


def _read_voc(folder: Path) -> dict[str, dict]:
    """``Annotations/*.xml`` with lists in ``ImageSets/Main``, or ``train/ valid/ test/`` with xml beside the images."""
    found: dict[str, list[Path]] = {}
    annotations = next((folder / name for name in ('Annotations', 'annotations') if (folder / name).is_dir()), None)
    if annotations is not None and any(annotations.glob('*.xml')):
        for split, spellings in _SPELLINGS.items():
            lists = [folder / 'ImageSets' / 'Main' / f'{name}.txt' for name in spellings]
            listed = next((file for file in lists if file.is_file()), None)
            if listed is not None:
                found[split] = [
                    annotations / f'{line.split()[0]}.xml' for line in _text_of(listed).splitlines() if line.strip()
                ]
        found = found or {'train': sorted(annotations.glob('*.xml'))}
    else:
        for split, spellings in _SPELLINGS.items():
            files = [file for name in spellings for file in sorted((folder / name).glob('*.xml'))]
            if files:
                found[split] = files
    contents = {split: [_voc_image(file, folder) for file in files] for split, files in found.items()}
    # VOC has no class list: it is what occurs anywhere
    names = sorted({name for images in contents.values() for _, boxes in images for name, _ in boxes})
    return {split: _voc_content(images, names, f'{folder} ({split})') for split, images in contents.items()}


def _voc_content(images: Iterable[tuple[dict, list]], names: list[str], source: str) -> dict:
    entries, annotations = [], []
    for number, (image, boxes) in enumerate(images):
        entries.append(dict(image, id=number))
        annotations += [
            dict(id=f'{Path(image["file_name"]).stem}', image_id=number, category_id=names.index(name) + 1, bbox=box)
            for name, box in boxes
        ]
    categories = [dict(id=number, name=name) for number, name in enumerate(names, start=1)]
    return dict(images=entries, annotations=annotations, categories=categories, source=source)


def _voc_image(file: Path, folder: Path) -> tuple[dict, list[tuple[str, list[float]]]]:
    try:
        root = ElementTree.parse(file).getroot()
        boxes = []
        for item in root.iter('object'):
            x1, y1, x2, y2 = (float(item.findtext(f'bndbox/{key}')) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
            boxes.append((item.findtext('name').strip(), [x1, y1, x2 - x1, y2 - y1]))
        require_boxes([box for _, box in boxes], str(file), OwnDataError)
    except OSError as error:  # not there, or a name that no file can have
        raise OwnDataError(
            f'{str(file)[:200]} is listed in ImageSets/Main and does not exist. Correct the list.'
        ) from error
    except OwnDataError:
        raise
    # LookupError: an encoding that nobody knows
    except (ElementTree.ParseError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise OwnDataError(f'{file}: no VOC annotation ({error}); expected objects with name and bndbox.') from error
    name = root.findtext('filename') or f'{file.stem}.jpg'
    candidates = [parent / name for parent in (folder / 'JPEGImages', folder / 'images', file.parent, folder)]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise OwnDataError(f'{file}: its image "{name}" is not in JPEGImages/, images/ or beside it. Put it there.')
    width, height = _size(path)
    return dict(file_name=str(path.resolve()), width=width, height=height), boxes


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob('*') if path.suffix.lower() in _IMAGE_SUFFIXES)


def _size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright image, from the head of the file."""
    try:
        return read_head(path).size
    except ImageInputError as error:
        raise OwnDataError(f'{error} Replace or remove it.') from error
