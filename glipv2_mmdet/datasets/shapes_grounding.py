"""Boxes for the words of the shapes data's questions, found again from its annotations.

In: ``questions_``, ``answers_`` and ``<split>.json`` of a rendering, which stay as they are. Out: grounding records as
:func:`~glipv2_mmdet.datasets.vqa_records.grounding_of` reads them. On real data a grounded model labels
question + answer instead; here the truth is known.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from glipv2_mmdet.datasets.shapes_scene import COLOURS, SHAPES
from glipv2_mmdet.datasets.shapes_text import Description

_MENTION = re.compile(rf'\b(?:(?P<colour>{"|".join(COLOURS)}) )?(?:(?P<shape>{"|".join(SHAPES)})(?:es|s)?|things?)\b')
#: Question types whose answer is about the objects that the question names, and answers without any object.
_ABOUT_OBJECTS = ('what color is the', 'what shape is the', 'how many', 'is there a')
_NO_OBJECT = ('no', '0')


@dataclass(frozen=True)
class Look:
    """Colour and shape of an annotated object, and its box."""

    colour: str
    shape: str
    box: tuple[float, ...]


def ground_questions(root: str | Path, split: str = 'train') -> Iterator[dict]:
    """One record per question, in the order of the file.

    Every mention of a colour and a shape owns the boxes of all objects that fit it. The answer owns the boxes it is
    about: the asked object of colour and shape, all counted ones, the one that is there. Answers about places own none,
    and neither do 'no' and '0'.

    Args:
        root: folder of a rendering.
        split: ``'train'`` or ``'val'``; in zero-shot scenes not every object is annotated.

    Raises:
        ValueError: another split.
    """
    scenes = read_scenes(root, split)
    folder = Path(root) / 'annotations'
    answers = {
        entry['question_id']: entry
        for entry in json.loads((folder / f'answers_{split}.json').read_text())['annotations']
    }
    sizes = {image['id']: (image['height'], image['width']) for image in scenes['images']}
    objects = objects_by_image(scenes)
    for entry in json.loads((folder / f'questions_{split}.json').read_text())['questions']:
        annotation = answers[entry['question_id']]
        boxes, spans = _boxes(entry['question'], annotation, tuple(objects[entry['image_id']]))
        height, width = sizes[entry['image_id']]
        yield dict(
            question_id=entry['question_id'],
            text=entry['question'],
            caption=f'{entry["question"]} {annotation["multiple_choice_answer"]}',
            tokens_positive=spans,
            bboxes=boxes,
            scores=[1.0] * len(boxes),
            img_h=height,
            img_w=width,
        )


def read_scenes(root: str | Path, split: str) -> dict:
    """``<split>.json`` of a rendering.

    Raises:
        ValueError: a split whose questions cannot be answered from it.
    """
    if split not in ('train', 'val'):
        raise ValueError(
            f"split is '{split}'. Expected 'train' or 'val': in zero-shot scenes not every object has a box."
        )
    return json.loads((Path(root) / 'annotations' / f'{split}.json').read_text())


def objects_by_image(scenes: dict) -> dict[int, list[Look]]:
    """Annotated objects by image."""
    names = {category['id']: category['name'].split() for category in scenes['categories']}
    objects: dict[int, list[Look]] = defaultdict(list)
    for annotation in scenes['annotations']:
        x, y, width, height = annotation['bbox']
        objects[annotation['image_id']].append(
            Look(*names[annotation['category_id']], box=(x, y, x + width, y + height))
        )
    return objects


def _boxes(question: str, annotation: dict, objects: tuple[Look, ...]) -> tuple[list, list]:
    """Boxes, and for each of them all spans of question + ' ' + answer that it belongs to."""
    answer = annotation['multiple_choice_answer']
    answer_span = [len(question) + 1, len(question) + 1 + len(answer)]
    spans: dict[int, list[list[int]]] = defaultdict(list)  # by object
    for mention in _MENTION.finditer(question):
        for k in Description(colour=mention['colour'], shape=mention['shape']).find(objects):
            spans[k].append(list(mention.span()))
    if annotation['question_type'] in _ABOUT_OBJECTS and answer not in _NO_OBJECT:
        for found in spans.values():
            found.append(answer_span)
    return [list(objects[k].box) for k in sorted(spans)], [spans[k] for k in sorted(spans)]
