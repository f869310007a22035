"""Many more questions about each scene of the shapes data: what a small model needs to learn to count and compare.

In: ``<split>.json`` of a rendering, which stays as it is. Out: one more pair of VQA v2 files. The kinds are those of
:func:`~glipv2_mmdet.datasets.shapes_text.make_questions`, and two that are steps on the way to them: on which side of
the middle one object is, and which of two is above, asked so that the answer names the place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from glipv2_mmdet.datasets.shapes_grounding import Look, objects_by_image, read_scenes
from glipv2_mmdet.datasets.shapes_scene import COLOURS, SEEN, SHAPES
from glipv2_mmdet.datasets.shapes_text import CLEAR_GAP, Description, Question, centre

#: Most questions per scene and kind; counting and comparing are the hardest to learn and get the most.
PER_SCENE = {
    'presence': 3,
    'number': 6,
    'colour': 2,
    'shape': 2,
    'middle': 6,
    'side': 6,
    'height': 5,
    'side of height': 5,
}
#: Question type of the kind that the rendering has no questions of.
MIDDLE = 'is the (middle)'


def practice_questions(root: str | Path, split: str = 'train', seed: int = 0) -> tuple[dict, dict]:
    """Question and annotation file, up to 35 questions per scene; equal arguments give equal files.

    Within a kind answers are drawn evenly, so that none of them is right by being frequent. Ids go on where those of
    ``questions_<split>.json`` end.

    Args:
        root: folder of a rendering.
        split: ``'train'`` or ``'val'``; in zero-shot scenes not every object is annotated.
        seed: of the choice.

    Raises:
        ValueError: another split.
    """
    scenes = read_scenes(root, split)
    objects = objects_by_image(scenes)
    questions, annotations = [], []
    for image in scenes['images']:
        rng = np.random.default_rng([seed, image['id']])
        asked = all_questions(objects[image['id']], (image['width'], image['height']))
        for number, question in enumerate(_drawn(rng, asked), start=10):
            keys = dict(image_id=image['id'], question_id=image['id'] * 100 + number)
            questions.append(dict(**keys, question=question.text, flippable=question.flippable))
            annotations.append(
                dict(
                    **keys,
                    question_type=question.question_type,
                    answer_type=question.answer_type,
                    multiple_choice_answer=question.answer,
                    answers=[dict(answer=question.answer, answer_id=person) for person in range(1, 11)],
                )
            )
    return (
        dict(task_type='Open-Ended', data_subtype=split, questions=questions),
        dict(data_subtype=split, annotations=annotations),
    )


def all_questions(objects: Sequence[Look], size: tuple[int, int]) -> dict[str, list[Question]]:
    """Every question about a scene by kind, the keys of ``PER_SCENE``, with its answer.

    Args:
        size: width and height of the picture, pixels.
    """
    return {
        'presence': [_presence(objects, colour, shape) for colour, shape in SEEN],
        'number': [_number(objects, Description(shape=shape)) for shape in SHAPES]
        + [_number(objects, Description(colour=colour)) for colour in COLOURS],
        'colour': list(_single(objects, 'shape', 'colour', 'what color is the')),
        'shape': list(_single(objects, 'colour', 'shape', 'what shape is the')),
        'middle': list(_middle(objects, np.array(size) / 2)),
        **_places(objects),
    }


def _drawn(rng: np.random.Generator, asked: Mapping[str, Sequence[Question]]) -> Iterator[Question]:
    for kind, questions in asked.items():
        if not questions:
            continue
        counts = Counter(question.answer for question in questions)
        weights = np.array([1 / counts[question.answer] for question in questions])
        count = min(PER_SCENE[kind], len(questions))
        for k in rng.choice(len(questions), count, replace=False, p=weights / weights.sum()):
            yield questions[k]


def _presence(objects: Sequence[Look], colour: str, shape: str) -> Question:
    found = Description(colour=colour, shape=shape).find(objects)
    return Question(f'is there a {colour} {shape}?', 'yes' if found else 'no', 'is there a', 'yes/no')


def _number(objects: Sequence[Look], description: Description) -> Question:
    return Question(
        f'how many {description.words(plural=True)} are there?',
        str(len(description.find(objects))),
        'how many',
        'number',
    )


def _single(objects: Sequence[Look], known: str, asked: str, opening: str) -> Iterator[Question]:
    """What the only object of a colour or shape looks like."""
    counts = Counter(getattr(item, known) for item in objects)
    for item in objects:
        if counts[getattr(item, known)] == 1:
            words = Description(**{known: getattr(item, known)}).words()
            yield Question(f'{opening} {words}?', getattr(item, asked), opening, 'other')


def _middle(objects: Sequence[Look], middle: np.ndarray) -> Iterator[Question]:
    """Where objects are that a colour, a shape or both single out, where that is clear."""
    for item in objects:
        for description in (
            Description(colour=item.colour, shape=item.shape),
            Description(shape=item.shape),
            Description(colour=item.colour),
        ):
            if len(description.find(objects)) > 1:
                continue
            across, down = centre(item) - middle
            if abs(across) >= CLEAR_GAP:
                yield Question(
                    f'is the {description.words()} on the left or right of the middle?',
                    'left' if across < 0 else 'right',
                    MIDDLE,
                    'other',
                    flippable=False,
                )
            if abs(down) >= CLEAR_GAP:
                yield Question(
                    f'is the {description.words()} above or below the middle?',
                    'above' if down < 0 else 'below',
                    MIDDLE,
                    'other',
                )


def _places(objects: Sequence[Look]) -> dict[str, list[Question]]:
    """Questions about two objects that their looks single out, both ways round, where the answer is clear."""
    looks = Counter((item.colour, item.shape) for item in objects)
    single = [item for item in objects if looks[item.colour, item.shape] == 1]
    found: dict[str, list[Question]] = {'side': [], 'height': [], 'side of height': []}
    for a, b in permutations(single, 2):
        one, other = (Description(colour=item.colour, shape=item.shape).words() for item in (a, b))
        across, down = centre(a) - centre(b)
        if abs(across) >= CLEAR_GAP:
            found['side'].append(
                Question(
                    f'is the {one} on the left or right of the {other}?',
                    'left' if across < 0 else 'right',
                    'is the',
                    'other',
                    flippable=False,
                )
            )
        if abs(down) >= CLEAR_GAP:
            place = 'above' if down < 0 else 'below'
            found['height'] += [
                Question(f'is the {one} {word} the {other}?', 'yes' if word == place else 'no', 'is the', 'yes/no')
                for word in ('above', 'below')
            ]
            found['side of height'].append(
                Question(f'is the {one} above or below the {other}?', place, 'is the', 'other')
            )
    return found
