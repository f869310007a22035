"""OpenImages' csv files to ODVG detection records; sizes come from the images, because the csv has fractions."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from glipv2_mmdet.datasets.conversion.json_stream import GroupedRows
from glipv2_mmdet.image_reading import read_head


def open_images_class_names(class_file: str | Path) -> dict[str, str]:
    """Name per machine id ('/m/01g317' -> 'Person'), in the order of class-descriptions-boxable.csv."""
    with open(class_file, newline='', encoding='utf-8') as file:
        names = {row[0]: row[1] for row in csv.reader(file) if row and row[0] != 'LabelName'}
    if not names:
        raise ValueError(f'{class_file}: no classes. Expected lines "/m/01g317,Person".')
    return names


def open_images_records(
    box_file: str | Path,
    class_file: str | Path,
    image_folder: str | Path,
    counts: Counter[str] | None = None,
    scratch_folder: str | Path | None = None,
) -> Iterator[dict]:
    """ODVG records sorted by image id, without boxes around groups; memory stays constant.

    Args:
        box_file: oidv6-train-annotations-bbox.csv; its columns are XMin, XMax, YMin, YMax, as fractions.
        class_file: class-descriptions-boxable.csv.
        image_folder: holds <ImageID>.jpg; images that are not there are left out and counted.
        counts: 'missing_images' is added to.
        scratch_folder: see :class:`GroupedRows`.

    Raises:
        ImageInputError: a broken image.
        ValueError: a class that ``class_file`` does not have, or a column that is missing.
    """
    counts = Counter() if counts is None else counts
    labels = {identity: label for label, identity in enumerate(open_images_class_names(class_file))}
    with GroupedRows(_rows(box_file, labels), scratch_folder) as boxes:
        for identity in boxes.keys():
            path = Path(image_folder) / f'{identity}.jpg'
            if not path.is_file():
                counts['missing_images'] += 1
                continue
            width, height = read_head(path).size
            instances = [
                {'bbox': [left * width, top * height, right * width, bottom * height], 'label': label}
                for left, top, right, bottom, label in boxes[identity]
            ]
            yield {
                'filename': path.name,
                'height': height,
                'width': width,
                'image_id': identity,
                'detection': {'instances': instances},
            }


def _rows(box_file: str | Path, labels: dict[str, int]) -> Iterator[tuple[str, list]]:
    with open(box_file, newline='', encoding='utf-8') as file:
        for row in csv.DictReader(file):
            try:
                if row['IsGroupOf'] == '1':
                    continue
                edges = [float(row[name]) for name in ('XMin', 'YMin', 'XMax', 'YMax')]
                yield row['ImageID'], [*edges, labels[row['LabelName']]]
            except KeyError as error:
                raise ValueError(
                    f'{box_file}: image {row.get("ImageID")}: {error} is no column or no class. Expected '
                    'the box csv of OpenImages and the class file of the same version.'
                ) from error
