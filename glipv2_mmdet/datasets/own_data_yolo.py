"""YOLO folders: ``data.yaml`` with names and splits, a text file of labels per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from glipv2_mmdet.datasets.bounded_yaml import read_yaml
from glipv2_mmdet.datasets.own_data_files import SPELLINGS, OwnDataError, image_files, image_size, is_file, text_of
from glipv2_mmdet.datasets.record_checks import is_number
from glipv2_mmdet.text.prompt import shorten

#: How YAML writes nothing.
_NOTHING = ('', '~', 'null', 'Null', 'NULL')
#: Fractions of the image that a label may reach; numbers beyond are pixels, or the visibility of a key point.
_LOWEST, _HIGHEST = -0.5, 1.5


def read_yolo(folder: Path) -> dict[str, dict]:
    """Splits of a folder with ``data.yaml``; nothing where there is none.

    A split is a folder of images, or a text file with one image per line. Labels lie in ``labels`` where images lie in
    ``images``, else beside the image.

    Raises:
        OwnDataError: see the messages.
    """
    file = next((folder / name for name in ('data.yaml', 'dataset.yaml') if is_file(folder / name)), None)
    if file is None:
        return {}
    content = read_yaml(file, OwnDataError)
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    if not isinstance(names, dict) or not names:
        raise OwnDataError(f'{file}: no "names"; expected the class names as a list, or by number.')
    if not all(number.isdecimal() and isinstance(name, str) for number, name in names.items()):
        raise OwnDataError(
            f'{file}: "names" is {shorten(str(names))}; expected the class names as a list, or by number.'
        )
    names = {int(number): name for number, name in names.items()}
    num_points = _key_points(content.get('kpt_shape'), file)
    splits = {}
    for split, spellings in SPELLINGS.items():
        images = _images_of(content, split, folder, file)
        if images is not None:
            source = f'{file} ({images[0].parent if images else spellings[0]})'
            splits[split] = _content(images, names, num_points, source)
    return splits


def _images_of(content: dict, split: str, folder: Path, file: Path) -> list[Path] | None:
    """Images of a split, None where the folder has no such split."""
    given = next((content[name] for name in SPELLINGS[split] if content.get(name, '') not in _NOTHING), None)
    base = content.get('path', '')
    for key, value in ((split, given), ('path', base)):
        if not isinstance(value, (str, type(None))):
            raise OwnDataError(f'{file}: "{key}" is {shorten(repr(value))}; expected the path of one folder or list.')
    base = folder / ('' if base in _NOTHING else base)
    if given is not None:
        # RoboFlow writes ../train/images for a folder beside the yaml file
        candidates = [base / given, folder / given, folder / given.removeprefix('../')]
        listed = next((path for path in candidates if is_file(path)), None)
        if listed is not None:
            return _listed_images(listed, (base, folder, listed.parent))
    else:
        candidates = []
    candidates += [folder / name / 'images' for name in SPELLINGS[split]]
    candidates += [folder / 'images' / name for name in SPELLINGS[split]]
    images = next((path for path in candidates if path.is_dir()), None)
    if images is not None:
        return image_files(images.resolve())
    if given is not None and split != 'test':
        raise OwnDataError(f'{file}: "{split}" is "{shorten(given)}", and there is no such folder. Correct the path.')
    return None


def _listed_images(file: Path, roots: Sequence[Path]) -> list[Path]:
    """Images of a list, one path per line; CVAT writes 'data/' before paths that begin beside the list."""
    images = []
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        line = line.strip().replace('\\', '/')
        if not line:
            continue
        paths = [root / name for root in roots for name in (line, line.removeprefix('./').removeprefix('data/'))]
        found = next((path for path in paths if is_file(path)), None)
        if found is None:
            raise OwnDataError(f'{file}:{number}: there is no image "{shorten(line)}". Correct the list.')
        images.append(found.resolve())
    return images


def _key_points(shape: object, file: Path) -> int:
    """How many numbers of a label are key points, from ``kpt_shape: [17, 3]``."""
    if shape is None or shape in _NOTHING:
        return 0
    is_pair = isinstance(shape, list) and len(shape) == 2 and all(str(side).isdecimal() for side in shape)
    if not is_pair:
        raise OwnDataError(f'{file}: "kpt_shape" is {shorten(repr(shape))}; expected [number of points, 2 or 3].')
    return int(shape[0]) * int(shape[1])


def _content(images: Sequence[Path], names: dict[int, str], num_points: int, source: str) -> dict:
    entries, annotations, labels_found = [], [], 0
    for number, path in enumerate(images):
        width, height = image_size(path)
        entries.append(dict(id=number, file_name=str(path), width=width, height=height))
        label = next((file for file in _label_files(path) if is_file(file)), None)
        if label is not None:  # no file: nothing in the image
            labels_found += 1
            annotations += [
                dict(id=f'{label.name}:{line}', image_id=number, category_id=category, bbox=box)
                for line, category, box in _boxes(label, width, height, num_points)
            ]
    if images and not labels_found:
        places = ' or '.join(f'"{file}"' for file in dict.fromkeys(_label_files(images[0])))
        raise OwnDataError(
            f'{source}: none of the {len(images)} images has a label file; the labels of "{images[0].name}" were '
            f'expected in {places}. Put the label files there.'
        )
    categories = [dict(id=number, name=name) for number, name in names.items()]
    return dict(images=entries, annotations=annotations, categories=categories, source=source)


def _label_files(image: Path) -> list[Path]:
    """With ``labels`` for the last ``images`` of its path, and beside it."""
    beside = image.with_suffix('.txt')
    parts = list(beside.parts)
    if 'images' not in parts:
        return [beside]
    parts[len(parts) - 1 - parts[::-1].index('images')] = 'labels'
    return [Path(*parts), beside]


def _boxes(label: Path, width: int, height: int, num_points: int) -> Iterator[tuple[int, int, list[float]]]:
    """(line, category, COCO box) of each line: a box as centre and size, maybe with key points, or a polygon."""
    for line, text in enumerate(text_of(label).splitlines(), start=1):
        if not text.strip():
            continue
        place = f'{label}:{line}: "{shorten(text)}"'
        try:
            category, *numbers = map(float, text.split())
        except ValueError as error:
            raise OwnDataError(f'{place}; expected a class number and coordinates.') from error
        if not all(map(is_number, (category, *numbers))):
            raise OwnDataError(f'{place}; expected finite numbers. Correct or delete the line.')
        if not category.is_integer():
            raise OwnDataError(f'{place}; expected a class number, which is whole, and coordinates.')
        if num_points and len(numbers) == 4 + num_points:
            numbers = numbers[:4]
        if not all(_LOWEST <= number <= _HIGHEST for number in numbers):
            raise OwnDataError(
                f'{place}; expected fractions of the image, from 0 to 1. Divide pixels by width and height; labels '
                'with key points need "kpt_shape" in the yaml file.'
            )
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
        yield line, int(category), [box[0] * width, box[1] * height, box[2] * width, box[3] * height]
