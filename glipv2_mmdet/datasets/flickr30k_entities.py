"""Flickr30k Entities for evaluation, from MDETR's separateGT files: a sample per sentence, with the phrases that count.

    dataset=dict(type='Flickr30kEntities', ann_file='mdetr_annotations/final_flickr_separateGT_test.json',
                 data_prefix=dict(img='flickr30k/flickr30k_images/'), test_mode=True)

mmdet's ``Flickr30kDataset`` reads a field ``phrase_ids`` that MDETR's conversion does not write. Here the boxes of a
phrase are those whose spans contain the phrase's.
"""

from __future__ import annotations

import os.path as osp
import re
from collections import defaultdict
from typing import Any, NamedTuple

from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.fileio import get_text

from glipv2_mmdet.datasets.record_checks import (
    check_dataset_settings,
    is_span,
    read_json,
    reading,
    require_boxes,
    require_size,
)
from glipv2_mmdet.text.prompt import shorten

_EXPECTED = (
    'Expected "images" with id, file_name, height, width, caption and tokens_positive_eval, and "annotations" '
    'with image_id, bbox and tokens_positive, as in final_flickr_separateGT_test.json. Download the file '
    'again.'
)
_MENTION = re.compile(r'\[/EN#(?P<chain>\d+)/(?P<types>[^\s\]]+) (?P<words>[^\]]*)\]')


class Mention(NamedTuple):
    """A marked phrase of a sentence."""

    #: Place of its first character in the sentence without markup.
    start: int
    words: str
    types: tuple[str, ...]


class EntitiesError(ValueError):
    """Annotations that do not fit together; the message names file and row."""


@DATASETS.register_module()
class Flickr30kEntities(BaseDetDataset):
    """Sentences with K evaluated phrases each.

    Samples carry ``text``, ``tokens_positive`` (K lists of spans, in sentence order), ``instances`` with the phrase in
    ``bbox_label`` (a box that several phrases mean comes once for each) and, with ``sentences_folder``,
    ``phrase_types`` (K tuples such as ``('people',)``). Boxes are as annotated, xyxy in pixels of the photo. Hand
    ``text``, ``tokens_positive``, ``instances`` (and ``phrase_types``) on in the ``meta_keys`` of ``PackDetInputs``.

    Args:
        ann_file: MDETR json with ``tokens_positive_eval``.
        sentences_folder: ``Sentences`` of the Flickr30k Entities release, for the types of phrases.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown keys in ``filter_cfg`` or ``data_prefix``.
        EntitiesError: no json, a row without the fields of an evaluation file, a phrase without a box, or a sentence
            file in which a phrase is not found.
    """

    def __init__(self, *args: Any, sentences_folder: str | None = None, **kwargs: Any) -> None:
        self.sentences_folder = sentences_folder
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One sample per row."""
        check_dataset_settings(self)
        content = read_json(self.ann_file, EntitiesError, _EXPECTED, self.backend_args)
        with reading(self.ann_file, EntitiesError, _EXPECTED):
            boxes: dict[Any, list[dict]] = defaultdict(list)
            for box in content['annotations']:
                boxes[box['image_id']].append(box)
            rows = [(row, boxes[row['id']]) for row in content['images']]
        if not rows:
            raise EntitiesError(f'{self.ann_file}: "images" is empty. {_EXPECTED}')
        samples = []
        for row, own in rows:
            place = f'{self.ann_file}: row {row["id"]}'
            with reading(place, EntitiesError, _EXPECTED):
                samples.append(self._sample(row, own, place))
        return samples

    def filter_data(self) -> list[dict]:
        """Keeps every sentence."""
        return self.data_list

    def _sample(self, row: dict, boxes: list[dict], place: str) -> dict:
        missing = {'tokens_positive_eval', 'caption', 'file_name'} - set(row)
        if missing:
            raise EntitiesError(
                f'{place} has no {sorted(missing)[0]!r} (keys {sorted(row)}); expected a row of '
                'final_flickr_separateGT_val.json or _test.json. Training files are read by MDETRGroundingDataset.'
            )
        if not isinstance(row['caption'], str) or not any(map(str.isalnum, row['caption'])):
            raise EntitiesError(
                f'{place}: caption {shorten(repr(row["caption"]))}; expected a sentence. Download the file again.'
            )
        instances = []
        for label, spans in enumerate(row['tokens_positive_eval']):
            if not spans or not all(is_span(span, len(row['caption'])) for span in spans):
                raise EntitiesError(
                    f'{place}: spans {shorten(repr(spans))} of phrase {label}; expected [[start, end], '
                    f'...] in the {len(row["caption"])} characters of the caption. Download the file '
                    'again.'
                )
            own = [box for box in boxes if all(list(span) in map(list, box['tokens_positive']) for span in spans)]
            if not own:
                raise EntitiesError(
                    f'{place}: phrase {label} ({_words(row["caption"], spans)!r}) has no box; expected one at least: '
                    'only such phrases are evaluated. The boxes of this file are not complete.'
                )
            require_boxes([box['bbox'] for box in own], place, EntitiesError)
            for x, y, width, height in (box['bbox'] for box in own):
                instances.append(dict(bbox=[x, y, x + width, y + height], bbox_label=label, ignore_flag=0))
        # the files of Flickr30k write sizes as text
        height, width = (int(size) if isinstance(size, str) else size for size in (row['height'], row['width']))
        require_size(height, width, place, EntitiesError)
        sample = dict(
            img_id=row['id'],
            img_path=osp.join(self.data_prefix.get('img') or '', row['file_name']),
            height=int(height),
            width=int(width),
            text=row['caption'],
            custom_entities=False,
            tokens_positive=[[list(span) for span in spans] for spans in row['tokens_positive_eval']],
            instances=instances,
        )
        if self.sentences_folder is not None:
            sample['phrase_types'] = self._types(row, place)
        return sample

    def _types(self, row: dict, place: str) -> list[tuple[str, ...]]:
        name = osp.splitext(osp.basename(row['file_name']))[0]
        file = osp.join(self.sentences_folder, f'{name}.txt')
        mentions = parse_sentences(get_text(file, backend_args=self.backend_args))[int(row['sentence_id'])]
        types = []
        for spans in row['tokens_positive_eval']:
            words, start = _words(row['caption'], spans), spans[0][0]
            same = [mention for mention in mentions if mention.words == words]
            found = next((mention for mention in same if mention.start == start), None)
            # words that are marked once need no place; those that are marked twice may be of two types
            if found is None and len(same) == 1:
                found = same[0]
            if found is None:
                places = ', '.join(str(mention.start) for mention in same)
                where = f'is marked at characters {places}, not at {start},' if same else 'is not'
                raise EntitiesError(
                    f'{place}: phrase {words!r} {where} in sentence {row["sentence_id"]} of {file}; expected the same '
                    'release of Flickr30k Entities. Download it again, or leave sentences_folder out.'
                )
            types.append(found.types)
        return types


def parse_sentences(text: str) -> list[list[Mention]]:
    """Every marked phrase of every line, in order; 'notvisual' ones too."""
    return [_mentions(line) for line in text.splitlines() if line.strip()]


def _mentions(line: str) -> list[Mention]:
    line, mentions, markup = ' '.join(line.split()), [], 0
    for match in _MENTION.finditer(line):
        mentions.append(Mention(match.start() - markup, match['words'], tuple(match['types'].split('/'))))
        markup += len(match.group()) - len(match['words'])
    return mentions


def _words(caption: str, spans: list[list[int]]) -> str:
    return ' '.join(caption[start:end] for start, end in spans)
