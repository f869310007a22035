"""One ODVG record to one sample: the checks and error texts that every reader of grounded data shares.

In: a json object as ODVG writes it. Out: a sample for ``BuildPrompt`` (``text``, ``instances`` and, for grounding,
``tokens_positive``). Readers of other formats turn their records into ODVG records first and come through here.
"""

from __future__ import annotations

import json
import os.path as osp
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.logging import MMLogger

from glipv2_mmdet.datasets.record_checks import is_box, is_size, is_span, read_json
from glipv2_mmdet.text.prompt import shorten

_NUMBERS = (int, float)


class ODVGError(ValueError):
    """A record cannot be used; the message names file, record, value and fix."""


@dataclass(frozen=True)
class Place:
    """Where a value stands, for error texts.

    Args:
        file: path as the user gave it.
        record: line number from 1, or what else finds the record in the file ('image 7').
    """

    file: str
    record: int | str

    def error(self, found: str, expected: str, fix: str) -> ODVGError:
        return ODVGError(f'{self.file}:{self.record}: {found}; expected {expected}. {fix}')


class RecordParser:
    """Turns ODVG records into samples; ``counts`` sums up what was read, clipped and dropped.

    Boxes are clipped to the picture and dropped when nothing is left.

    Args:
        image_root: folder in front of every ``filename``.
        class_lists: class names per vocabulary for detection records; a flat list stands under None.
        label_map_file: where they come from, for error texts.
    """

    def __init__(
        self,
        image_root: str = '',
        class_lists: Mapping[str | None, tuple[str, ...]] | None = None,
        label_map_file: str | None = None,
    ) -> None:
        self.image_root = image_root
        self.class_lists = class_lists or {}
        self.label_map_file = label_map_file
        self.counts: Counter[str] = Counter()

    def __call__(self, record: Any, place: Place) -> dict:
        """One sample.

        Raises:
            ODVGError: a field, label, span or box that cannot be used.
        """
        _require(record, place, 'record', filename=str, height=_NUMBERS, width=_NUMBERS)
        # MDETR's Flickr rows made some tools write sizes as floats; fractions of a pixel are still an error.
        height, width = (_positive_size(record[key], key, place) for key in ('height', 'width'))
        kinds = [kind for kind in ('detection', 'grounding') if kind in record]
        if len(kinds) != 1:
            raise place.error(
                f'keys {sorted(record)}',
                'exactly one of "detection" and "grounding"',
                'Split the record in two lines or add the missing part.',
            )
        sample = {
            'img_id': record.get('image_id', place.record - 1 if isinstance(place.record, int) else place.record),
            'img_path': osp.join(self.image_root, record['filename']),
            'height': height,
            'width': width,
        }
        if kinds == ['detection']:
            self._add_detection(sample, record, place)
        else:
            self._add_grounding(sample, record['grounding'], place)
        self.counts[kinds[0]] += 1
        self.counts['empty'] += not sample['instances']
        return sample

    def _add_detection(self, sample: dict, record: dict, place: Place) -> None:
        sample['vocabulary'] = _choose_class_list(record.get('vocabulary'), self.class_lists, place)
        names = self.class_lists[sample['vocabulary']]
        entry = record['detection']
        _require(entry, place, '"detection"', instances=list)
        sample['custom_entities'] = True
        sample['instances'] = []
        for instance in entry['instances']:
            _require(instance, place, 'instance', bbox=list, label=int)
            if not 0 <= instance['label'] < len(names):
                raise place.error(
                    f'label {instance["label"]}',
                    f'0 to {len(names) - 1}, the ids of the label map',
                    f'Use the label map this file was made with, not "{self.label_map_file}".',
                )
            _append_instance(sample, instance['bbox'], instance['label'], instance.get('mask'), place, self.counts)

    def _add_grounding(self, sample: dict, entry: Any, place: Place) -> None:
        _require(entry, place, '"grounding"', caption=str, regions=list)
        caption = entry['caption']
        if not any(letter.isalnum() for letter in caption):
            raise place.error(f'caption {caption!r}', 'a text with at least one letter or digit', 'Delete the record.')
        sample['text'] = caption
        sample['custom_entities'] = False
        sample['tokens_positive'] = []
        sample['instances'] = []
        labels: dict[tuple, int] = {}  # regions with equal spans are one phrase
        for region in entry['regions']:
            _require(region, place, 'region', bbox=list)
            spans = _read_spans(region, caption, place)
            label = labels.setdefault(tuple(map(tuple, spans)), len(labels))
            if label == len(sample['tokens_positive']):
                sample['tokens_positive'].append(spans)
            boxes, masks = region['bbox'], region.get('mask')
            if not boxes or isinstance(boxes[0], list):
                masks = [None] * len(boxes) if masks is None else masks
                if not isinstance(masks, list) or len(masks) != len(boxes):
                    raise place.error(
                        f'{len(boxes)} boxes but {len(masks) if isinstance(masks, list) else str(masks)[:60]} masks',
                        'one mask per box',
                        'Write the masks of a region in the order of its boxes.',
                    )
            else:
                boxes, masks = [boxes], [masks]
            for box, mask in zip(boxes, masks, strict=True):
                _append_instance(sample, box, label, mask, place, self.counts)


def parse_line(line: bytes, place: Place) -> Any:
    """The json value of one line.

    Raises:
        ODVGError: the line is not json.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # among them UnicodeDecodeError, and numbers of 5,000 digits
        raise place.error(
            f'broken json ({error})',
            'one object per line',
            'Repair or delete the line; a cut-off last line means an unfinished download.',
        ) from error


def load_class_lists(
    label_map_file: str | None, data_root: str | None = None, backend_args: dict | None = None
) -> dict[str | None, tuple[str, ...]]:
    """Class names per vocabulary of a label map; a flat one is stored under None, no file gives no lists.

    Raises:
        FileNotFoundError: there is no such file.
        ODVGError: not json, or ids that do not run from 0 without holes.
    """
    if label_map_file is None:
        return {}
    path = label_map_file
    if data_root and not osp.isabs(path):
        path = osp.join(data_root, path)
    content = read_json(path, ODVGError, 'Expected {"0": "name", ...}; write the file again.', backend_args)
    if isinstance(content, dict) and content and all(isinstance(v, dict) for v in content.values()):
        return {name: _ordered_names(names, f'{path} ("{name}")') for name, names in content.items()}
    return {None: _ordered_names(content, path)}


def log_counts(file: str, records: int, counts: Counter[str]) -> None:
    """One line on what a file holds and what was clipped or dropped."""
    MMLogger.get_current_instance().info(
        f'{file}: {records} records ({counts["detection"]} detection, {counts["grounding"]} '
        f'grounding), {counts["boxes"]} boxes, {counts["clipped"]} clipped to the picture, '
        f'{counts["dropped"]} dropped (outside the picture or without area), '
        f'{counts["empty"]} pictures without boxes'
    )


def _ordered_names(names: Any, where: str) -> tuple[str, ...]:
    """{"0": "a", "1": "b"} -> ('a', 'b'); ids must run from 0 without holes."""
    ids = [str(k) for k in range(len(names))] if isinstance(names, dict) else []
    if not ids or set(names) != set(ids) or not all(isinstance(name, str) for name in names.values()):
        raise ODVGError(
            f'{where}: label map {str(names)[:80]!r}; expected {{"0": "name", "1": "name", ...}} with ids '
            'from 0 without holes. Number the classes again.'
        )
    return tuple(names[k] for k in ids)


def _choose_class_list(vocabulary: Any, class_lists: Mapping[str | None, tuple[str, ...]], place: Place) -> str | None:
    """The key in ``class_lists`` of a record's class names."""
    if not class_lists:
        raise place.error(
            'a detection record but no label map',
            'the names of its labels',
            'Pass label_map_file=... to the data set.',
        )
    if None in class_lists:  # a flat map has one list, whatever the record calls it
        return None
    if not isinstance(vocabulary, str) or vocabulary not in class_lists:
        raise place.error(
            f'"vocabulary" is {vocabulary!r}',
            f'one of {sorted(map(str, class_lists))}',
            'Name a class list of the label map in this record.',
        )
    return vocabulary


def _require(entry: Any, place: Place, what: str, **fields: type | tuple[type, ...]) -> None:
    """Checks that ``entry`` is an object with these fields of these types (a bool is no number)."""
    if not isinstance(entry, dict):
        raise place.error(f'{what} is {str(entry)[:60]!r}', 'a json object', 'Compare with the format in the docs.')
    for name, kind in fields.items():
        if name not in entry:
            raise place.error(
                f'{what} has no "{name}" (keys {sorted(entry)})',
                f'the fields {sorted(fields)}',
                'Add the field.',
            )
        if not isinstance(entry[name], kind) or isinstance(entry[name], bool):
            kinds = ' or '.join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise place.error(
                f'"{name}" of the {what} is {str(entry[name])[:60]!r}', f'type {kinds}', 'Correct the value.'
            )


def _positive_size(value: float, name: str, place: Place) -> int:
    if not is_size(value):
        raise place.error(f'"{name}" is {value}', 'a whole number of pixels, at least 1', 'Read it from the picture.')
    return int(value)


def _read_spans(region: dict, caption: str, place: Place) -> list[list[int]]:
    """The region's spans, checked; from its phrase when only that is given. -1 means the whole caption."""
    spans = region.get('tokens_positive')
    if spans == -1:
        return [[0, len(caption)]]
    if spans is None:
        phrase = region.get('phrase')
        hits = list(_occurrences(phrase, caption)) if isinstance(phrase, str) and phrase else []
        if len(hits) != 1:
            raise place.error(
                f'region without "tokens_positive" whose phrase {phrase!r} occurs {len(hits)} times',
                f'spans, or a phrase that occurs once in the caption {shorten(repr(caption))}',
                'Add "tokens_positive": [[start, end]].',
            )
        return [[hits[0], hits[0] + len(phrase)]]
    if not isinstance(spans, list) or not spans:
        raise place.error(f'"tokens_positive" is {str(spans)[:60]}', 'a list of [start, end]', 'Write [[start, end]].')
    for span in spans:
        if not is_span(span, len(caption)):
            raise place.error(
                f'span {str(span)[:60]}',
                f'0 <= start < end <= {len(caption)}, the length of the caption {shorten(repr(caption))}',
                'Recompute the span on exactly this caption.',
            )
    return [list(span) for span in spans]


def _occurrences(phrase: str, caption: str) -> Iterator[int]:
    """Where a phrase stands as whole words: 'car' is not in 'scarf'. Scripts without blanks have no such borders."""
    before = r'(?<!\w)' if _is_in_words(phrase[0]) else ''
    after = r'(?!\w)' if _is_in_words(phrase[-1]) else ''
    yield from (match.start() for match in re.finditer(f'{before}(?={re.escape(phrase)}{after})', caption))


def _is_in_words(character: str) -> bool:
    """A letter or digit of a script that puts blanks between words (Latin, Greek, Cyrillic, Armenian)."""
    return character.isalnum() and character < '\u0590'


def _append_instance(sample: dict, box: Any, label: int, mask: Any, place: Place, counts: Counter[str]) -> None:
    """Clips the box to the picture and appends it; drops it when no area is left."""
    if not is_box(box):
        raise place.error(f'box {str(box)[:60]}', '4 finite numbers [x1, y1, x2, y2]', 'Correct or delete the box.')
    limits = (sample['width'], sample['height']) * 2
    clipped = [min(max(float(v), 0.0), float(limit)) for v, limit in zip(box, limits, strict=True)]
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        counts['dropped'] += 1
        return
    counts['boxes'] += 1
    counts['clipped'] += clipped != [float(v) for v in box]
    instance = {'bbox': clipped, 'bbox_label': label, 'ignore_flag': 0}
    if mask is not None:
        instance['mask'] = mask
    sample['instances'].append(instance)
