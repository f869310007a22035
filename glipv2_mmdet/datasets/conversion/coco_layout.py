"""Detection json in COCO's layout (COCO, Objects365 v1 and v2, LVIS) to ODVG detection records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from glipv2_mmdet.datasets.conversion.json_stream import GroupedRows, field_of, iterate_array
from glipv2_mmdet.datasets.record_checks import reading, require_boxes, require_size

_LAYOUT = (
    'Expected COCO\'s layout, with every category among "categories"; see --file-names for files without "file_name".'
)
#: Listed in Objects365 v2's training json, but not in its archives.
OBJECTS365_V2_ABSENT = frozenset(
    ('patch16/objects365_v2_00908726.jpg', 'patch6/objects365_v1_00320532.jpg', 'patch6/objects365_v1_00320534.jpg')
)


def coco_class_names(ann_file: str | Path, renames: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Category names in the order of their ids; label k of a record is the k-th of them.

    Args:
        ann_file: detection json.
        renames: better spellings by published name. Blanks around a name go in any case.

    Raises:
        ValueError: no categories, or broken json.
    """
    with reading(str(ann_file), ValueError, _LAYOUT):
        categories = sorted(iterate_array(ann_file, 'categories'), key=lambda category: category['id'])
    if not categories:
        raise ValueError(f'{ann_file}: "categories" is empty. MDETR files look like that: use mdetr_to_odvg.py.')
    with reading(str(ann_file), ValueError, _LAYOUT):
        return tuple((renames or {}).get(category['name'], category['name']).strip() for category in categories)


def coco_records(
    ann_file: str | Path, file_names: str = 'as_given', scratch_folder: str | Path | None = None
) -> Iterator[dict]:
    """ODVG records of all images in the order of the file, without crowd boxes; memory stays constant.

    Args:
        ann_file: detection json.
        file_names: 'as_given'; 'last_folder' keeps one folder ('images/v1/patch8/a.jpg' -> 'patch8/a.jpg', Objects365
            v2) and leaves out images its archives lack; 'coco_url' is for LVIS, which has no file names.
        scratch_folder: see :class:`GroupedRows`.

    Raises:
        ValueError: a missing field or unknown category; the text names file and image.
    """
    find_name = _FILE_NAMES[file_names]
    with reading(str(ann_file), ValueError, _LAYOUT):
        ids = sorted(category['id'] for category in iterate_array(ann_file, 'categories'))
        labels = {category: label for label, category in enumerate(ids)}
    with GroupedRows(_rows(ann_file), scratch_folder) as boxes:
        for image in iterate_array(ann_file, 'images'):
            place = f'{ann_file}: image {image.get("id") if isinstance(image, dict) else str(image)[:60]}'
            with reading(place, ValueError, _LAYOUT):
                name = find_name(image)
                require_boxes([box for box, _ in boxes[image['id']]], place, ValueError)
                require_size(image['height'], image['width'], place, ValueError)
                instances = [
                    {'bbox': [x, y, x + width, y + height], 'label': labels[category]}
                    for (x, y, width, height), category in boxes[image['id']]
                ]
                record = {
                    'filename': name,
                    'height': image['height'],
                    'width': image['width'],
                    'image_id': image['id'],
                    'detection': {'instances': instances},
                }
            if file_names != 'last_folder' or name not in OBJECTS365_V2_ABSENT:
                yield record


def _rows(ann_file: str | Path) -> Iterator[tuple[int | str, list]]:
    for box in iterate_array(ann_file, 'annotations'):
        key = field_of(box, 'image_id', ann_file)
        with reading(f'{ann_file}: a box of image {key}', ValueError, _LAYOUT):
            row = [box['bbox'], box['category_id']]
        if not box.get('iscrowd'):
            yield key, row


def _last_folder(name: str) -> str:
    return '/'.join(PurePosixPath(name).parts[-2:])


_FILE_NAMES = {
    'as_given': lambda image: image['file_name'],
    'last_folder': lambda image: _last_folder(image['file_name']),
    'coco_url': lambda image: _last_folder(image['coco_url']),
}
