"""Visual Genome's objects.json to ODVG detection records with the names that occur often enough.

Names are free text. GLIP used a cleaned vocabulary that is not published; here a class is a lower-cased first name
with at least ``min_uses`` boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from glipv2_mmdet.datasets.conversion.json_stream import GroupedRows, field_of, iterate_array
from glipv2_mmdet.datasets.record_checks import reading, require_boxes, require_size

_LAYOUT = (
    'Expected objects.json, images with image_id and objects (x, y, w, h, names), and image_data.json with '
    'url, height and width. Download both again.'
)


def visual_genome_class_names(objects_file: str | Path, min_uses: int = 100) -> tuple[str, ...]:
    """Names with at least ``min_uses`` boxes, the most frequent first, equal ones in alphabetical order.

    Raises:
        ValueError: no name occurs that often, or broken json.
    """
    uses: Counter[str] = Counter()
    with reading(str(objects_file), ValueError, _LAYOUT):
        for image in iterate_array(objects_file):
            uses.update(_name(thing) for thing in image['objects'])
    del uses['']
    names = sorted((name for name, count in uses.items() if count >= min_uses), key=lambda name: (-uses[name], name))
    if not names:
        raise ValueError(
            f'{objects_file}: no name has {min_uses} boxes; the most frequent are '
            f'{uses.most_common(3)}. Lower --min-uses.'
        )
    return tuple(names)


def visual_genome_records(
    objects_file: str | Path, image_file: str | Path, names: Sequence[str], scratch_folder: str | Path | None = None
) -> Iterator[dict]:
    """ODVG records in the order of ``objects_file``; boxes of other names are left out; memory stays constant.

    Args:
        objects_file: objects.json, an array of images with their objects.
        image_file: image_data.json of the same version: sizes, and in which of the two folders an image is.
        names: see :func:`visual_genome_class_names`.
        scratch_folder: see :class:`GroupedRows`.

    Raises:
        ValueError: an image that ``image_file`` does not have, or a record without its fields.
    """
    labels = {name: label for label, name in enumerate(names)}
    rows = ((field_of(row, 'image_id', image_file), row) for row in iterate_array(image_file))
    with GroupedRows(rows, scratch_folder) as images:
        for entry in iterate_array(objects_file):
            key = field_of(entry, 'image_id', objects_file)
            found = images[key]
            if not found:
                raise ValueError(
                    f'{objects_file}: image {key} is not in {image_file}. Expected both '
                    'files of the same version of Visual Genome.'
                )
            place = f'{objects_file}: image {key}'
            with reading(place, ValueError, _LAYOUT):
                record = _record(entry, found[0], labels)
                require_boxes([thing['bbox'] for thing in record['detection']['instances']], place, ValueError)
                require_size(record['height'], record['width'], f'{image_file}: image {key}', ValueError)
            yield record


def _record(entry: dict, image: dict, labels: Mapping[str, int]) -> dict:
    folder = 'VG_100K_2' if 'VG_100K_2' in image['url'] else 'VG_100K'
    instances = [
        {
            'bbox': [thing['x'], thing['y'], thing['x'] + thing['w'], thing['y'] + thing['h']],
            'label': labels[_name(thing)],
        }
        for thing in entry['objects']
        if _name(thing) in labels
    ]
    return {
        'filename': f'{folder}/{entry["image_id"]}.jpg',
        'height': image['height'],
        'width': image['width'],
        'image_id': entry['image_id'],
        'detection': {'instances': instances},
    }


def _name(thing: dict) -> str:
    """The first name, lower case, runs of blanks as one; '' for things without a name."""
    name = ' '.join(thing['names'][0].lower().split()) if thing['names'] else ''
    return name if any(map(str.isalnum, name)) else ''
