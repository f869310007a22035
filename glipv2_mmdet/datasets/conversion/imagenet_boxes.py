"""ImageNet's localisation boxes (one xml per image, PASCAL VOC's layout) to ODVG detection records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree


def imagenet_class_names(synset_file: str | Path) -> dict[str, str]:
    """First lemma per synset, from lines 'n01440764 tench, Tinca tinca' (LOC_synset_mapping.txt).

    Synsets with the same first lemma (the two 'crane') are one class: their names could not be told apart.

    Raises:
        ValueError: a line without synset and words.
    """
    names = {}
    with open(synset_file, encoding='utf-8') as lines:
        for number, line in enumerate(lines, start=1):
            synset, _, words = line.strip().partition(' ')
            if not words:
                raise ValueError(f'{synset_file}:{number}: {line.strip()!r}; expected "n01440764 tench, Tinca tinca".')
            names[synset] = words.split(',')[0].strip()
    return names


def imagenet_records(annotation_folder: str | Path, names: Mapping[str, str], suffix: str = '.JPEG') -> Iterator[dict]:
    """ODVG records in the order of folders and file names; memory stays constant.

    Args:
        annotation_folder: holds <synset>/<image>.xml; images are <synset>/<image><suffix> under their own root.
        names: see :func:`imagenet_class_names`; labels number the distinct names in this order.
        suffix: of the image files.

    Raises:
        ValueError: an xml that is broken, lacks a field or names an unknown synset; the text names the file.
    """
    labels = {name: label for label, name in enumerate(dict.fromkeys(names.values()))}
    for folder in sorted(entry.name for entry in os.scandir(annotation_folder) if entry.is_dir()):
        for path in sorted(Path(annotation_folder, folder).glob('*.xml')):
            try:
                yield _record(ElementTree.parse(path).getroot(), f'{folder}/{path.stem}{suffix}', names, labels)
            except (ElementTree.ParseError, KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f'{path}: {error}. Expected <size> and, per <object>, <name> with a synset of the '
                    'mapping and <bndbox> with numbers.'
                ) from error


def _record(root: ElementTree.Element, filename: str, names: Mapping[str, str], labels: Mapping[str, int]) -> dict:
    instances = []
    for thing in root.iter('object'):
        box = [float(thing.findtext(f'bndbox/{edge}')) for edge in ('xmin', 'ymin', 'xmax', 'ymax')]
        instances.append({'bbox': box, 'label': labels[names[thing.findtext('name')]]})
    return {
        'filename': filename,
        'height': int(root.findtext('size/height')),
        'width': int(root.findtext('size/width')),
        'detection': {'instances': instances},
    }
