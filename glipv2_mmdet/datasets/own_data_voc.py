"""Pascal VOC folders: an xml file per image, lists of splits or a folder per split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from glipv2_mmdet.datasets.own_data_files import (
    SPELLINGS,
    OwnDataError,
    files_of_splits,
    image_of_stem,
    image_size,
    is_file,
    text_of,
)
from glipv2_mmdet.datasets.record_checks import require_boxes


def read_voc(folder: Path) -> dict[str, dict]:
    """``Annotations/*.xml`` with lists in ``ImageSets/Main``, or ``train/ valid/ test/`` with xml beside the images.

    Raises:
        OwnDataError: see the messages.
    """
    annotations = next((folder / name for name in ('Annotations', 'annotations') if (folder / name).is_dir()), None)
    if annotations is not None and any(annotations.glob('*.xml')):
        found = _listed(folder / 'ImageSets' / 'Main', annotations) or {'train': _xml_files(annotations)}
    else:
        found = {}
        for split, spellings in SPELLINGS.items():
            files = [file for name in spellings for file in _xml_files(folder / name)]
            if files:
                found[split] = files
    contents = {split: [_image(file, folder) for file in files] for split, files in found.items()}
    # VOC has no class list: it is what occurs anywhere
    names = sorted({name for images in contents.values() for _, boxes in images for name, _ in boxes})
    return {split: _content(images, names, f'{folder} ({split})') for split, images in contents.items()}


def _xml_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob('*.xml') if is_file(file))


def _listed(lists: Path, annotations: Path) -> dict[str, list[Path]]:
    """Annotation files by split; a single list of another name (CVAT's default.txt) is training."""
    files = sorted(file for file in lists.glob('*.txt') if is_file(file))
    chosen = files_of_splits(files, lists)
    if not chosen and len(files) == 1:
        chosen = {'train': files[0]}
    if files and not chosen:
        raise OwnDataError(
            f'None of the lists in "{lists}" names a split: {[file.name for file in files][:8]}. Name them train.txt, '
            'val.txt and test.txt.'
        )
    return {
        split: [annotations / f'{line.split()[0]}.xml' for line in text_of(file).splitlines() if line.strip()]
        for split, file in chosen.items()
    }


def _content(images: Iterable[tuple[dict, list]], names: list[str], source: str) -> dict:
    entries, annotations = [], []
    for number, (image, boxes) in enumerate(images):
        entries.append(dict(image, id=number))
        annotations += [
            dict(id=f'{Path(image["file_name"]).stem}', image_id=number, category_id=names.index(name) + 1, bbox=box)
            for name, box in boxes
        ]
    twice = next((name for name, count in Counter(entry['file_name'] for entry in entries).items() if count > 1), None)
    if twice is not None:
        raise OwnDataError(
            f'{source}: several xml files belong to the image "{twice}". Give each xml file the name of its image.'
        )
    categories = [dict(id=number, name=name) for number, name in enumerate(names, start=1)]
    return dict(images=entries, annotations=annotations, categories=categories, source=source)


def _image(file: Path, folder: Path) -> tuple[dict, list[tuple[str, list[float]]]]:
    """An image with its size as the xml file states it, and (name, COCO box) of its objects."""
    if not is_file(file):  # also a name that no file can have
        raise OwnDataError(f'{str(file)[:200]} is listed in ImageSets/Main and does not exist. Correct the list.')
    try:
        root = ElementTree.parse(file).getroot()
        boxes = []
        for item in root.iter('object'):
            x1, y1, x2, y2 = (float(item.findtext(f'bndbox/{key}')) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
            boxes.append((item.findtext('name').strip(), [x1, y1, x2 - x1, y2 - y1]))
        require_boxes([box for _, box in boxes], str(file), OwnDataError)
        stated = [float(root.findtext(f'size/{side}') or 0) for side in ('width', 'height')]
    except OwnDataError:
        raise
    # LookupError: an encoding that nobody knows
    except (ElementTree.ParseError, TypeError, ValueError, AttributeError, LookupError, OSError) as error:
        raise OwnDataError(f'{file}: no VOC annotation ({error}); expected objects with name and bndbox.') from error
    path = _image_file(file, folder, root.findtext('filename') or '')
    # some tools write 0 for a size that they do not know
    width, height = stated if all(side >= 1 for side in stated) else image_size(path)
    return dict(file_name=str(path.resolve()), width=width, height=height), boxes


def _image_file(file: Path, folder: Path, name: str) -> Path:
    """The image with the name of the xml file; only where there is none, the one that ``<filename>`` says."""
    folders = [folder / 'JPEGImages', folder / 'images', file.parent, folder]
    found = image_of_stem(file.stem, folders)
    if len({path.resolve() for path in found}) > 1:
        same = [path for path in found if path.name == name]
        if len(same) != 1:
            raise OwnDataError(
                f'{file}: {len(found)} images have its name: {[path.name for path in found]}. Remove the others, or '
                'write the right one as <filename>.'
            )
        found = same
    if not found and name:
        found = [path for path in (parent / Path(name.replace('\\', '/')).name for parent in folders) if is_file(path)]
    if not found:
        raise OwnDataError(
            f'{file}: neither an image "{file.stem}" with any ending nor "{name[:200]}" is in JPEGImages/, images/ or '
            'beside it. Put the image there.'
        )
    return found[0]
