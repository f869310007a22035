"""Words about scenes: every phrase means exactly the objects it says."""

import re
from functools import cache

import numpy as np
import pytest

from glipv2_mmdet.datasets.shapes_scene import HELD_OUT, SEEN, SceneObject, draw_scene
from glipv2_mmdet.datasets.shapes_text import (
    NUMBERS,
    Description,
    make_captions,
    make_grounding,
    make_questions,
    make_referring,
)


@cache
def draw_train_scene(index):
    return draw_scene(0, 'train', index)


def _object(colour, shape, box=(0, 0, 20, 20), size='medium', texture='plain'):
    return SceneObject(colour, shape, size, texture, mask=np.ones((1, 1), dtype=bool), box=box, visible=1.0)


# Left to right: a small red circle, a large striped red circle, a blue cross below both.
THREE = (
    _object('red', 'circle', (0, 0, 20, 20), size='small'),
    _object('red', 'circle', (60, 5, 120, 65), size='large', texture='striped'),
    _object('blue', 'cross', (40, 90, 80, 130)),
)


@pytest.mark.parametrize(
    ('description', 'plural', 'words', 'members'),
    [
        (Description(colour='red', shape='circle'), True, 'red circles', (0, 1)),
        (Description(size='small', colour='red'), False, 'small red thing', (0,)),
        (Description('large', 'striped', 'red', 'circle'), False, 'large striped red circle', (1,)),
        (Description(shape='cross'), True, 'crosses', (2,)),
        (Description(colour='green'), False, 'green thing', ()),
    ],
)
def test_descriptions_say_their_attributes_and_find_every_object_that_has_them(description, plural, words, members):
    assert description.words(plural) == words
    assert description.find(THREE) == members


def _objects_named(phrase, objects):
    """Plain reading of a phrase: all objects that have each attribute word."""
    words = [re.sub(r'^(circle|square|triangle|star|diamond)s$|^(cross)es$', r'\1\2', w) for w in phrase.split()]
    known = {v for o in objects for v in (o.size, o.texture, o.colour, o.shape)}
    return tuple(
        k for k, o in enumerate(objects) if {w for w in words if w in known} <= {o.size, o.texture, o.colour, o.shape}
    )


@pytest.mark.parametrize('index', range(1, 25))
def test_caption_phrases_cover_their_words_and_mean_all_and_only_what_they_name(index):
    objects = draw_train_scene(index).objects
    rng = np.random.default_rng(index)
    for _ in range(5):
        grounding = make_grounding(rng, objects)
        used = []
        for phrase, spans, members in grounding.phrases:
            texts = [grounding.caption[start:end] for start, end in spans]
            assert texts[0] == phrase
            assert all(text.removeprefix('the ') == phrase.removeprefix('a ') for text in texts[1:])
            assert members == _objects_named(phrase, objects)
            if len(members) > 1:
                assert phrase.startswith(NUMBERS[len(members)] + ' ')
            used += members
        assert len(used) == len(set(used)) > 0
        assert not re.search(r'\b(left|right)\b', grounding.caption)  # would be wrong after a flip
        if ' above ' in grounding.caption or ' below ' in grounding.caption:
            first, second = (objects[members[0]] for _, _, members in grounding.phrases[:2])
            above, below = (first, second) if ' above ' in grounding.caption else (second, first)
            assert above.box[3] <= below.box[1]


def test_some_captions_name_one_object_twice():
    rng = np.random.default_rng(0)
    several = [
        g
        for g in (make_grounding(rng, THREE[1:]) for _ in range(300))
        if any(len(spans) == 2 for _, spans, _ in g.phrases)
    ]
    assert several
    assert all(re.search(r'\. the .* is (small|large)$', g.caption) for g in several)


def test_captions_end_with_a_full_stop_and_differ_where_there_is_something_to_say():
    captions = make_captions(np.random.default_rng(1), THREE)
    assert len(captions) == 5 == len(set(captions))
    assert all(c.endswith('.') and not c.endswith('..') for c in captions)


def test_referring_phrases_mean_one_or_many_and_mark_what_a_flip_breaks():
    found = {
        m.text: m for seed in range(60) for m in make_referring(np.random.default_rng(seed), THREE, frozenset(range(3)))
    }
    assert found['the two red circles'].members == (0, 1)
    assert found['all circles'].members == (0, 1)
    assert found['the small red circle'].members == (0,)
    assert found['the blue cross'].members == (2,)
    assert (found['the left circle'].members, found['the left circle'].flippable) == ((0,), False)
    assert (found['the bottom circle'].members, found['the bottom circle'].flippable) == ((1,), True)


def test_referring_phrases_never_also_fit_an_object_that_is_not_allowed():
    for seed in range(40):
        for match in make_referring(np.random.default_rng(seed), THREE, frozenset({0, 2})):
            assert set(match.members) <= {0, 2}
            if {'top', 'bottom', 'left', 'right'}.isdisjoint(match.text.split()):
                assert match.members == _objects_named(match.text, THREE)


def _true_answer(question, objects):
    """Answers by parsing the question, independent of how it was made."""
    by_words = {f'{o.colour} {o.shape}': o for o in objects}
    if found := re.fullmatch(r'is there a (\w+ \w+)\?', question):
        return 'yes' if found[1] in by_words else 'no'
    if found := re.fullmatch(r'how many (.+) are there\?', question):
        colour_or_shape = found[1].removesuffix(' things')
        singular = 'cross' if colour_or_shape == 'crosses' else colour_or_shape.removesuffix('s')
        return str(sum(colour_or_shape == o.colour or singular == o.shape for o in objects))
    if found := re.fullmatch(r'what color is the (\w+)\?', question):
        return next(o.colour for o in objects if o.shape == found[1])
    if found := re.fullmatch(r'what shape is the (\w+) thing\?', question):
        return next(o.shape for o in objects if o.colour == found[1])
    if found := re.fullmatch(r'is the (\w+ \w+) (above|below) the (\w+ \w+)\?', question):
        a, b = by_words[found[1]].box, by_words[found[3]].box
        return 'yes' if (a[1] + a[3] < b[1] + b[3]) == (found[2] == 'above') else 'no'
    found = re.fullmatch(r'is the (\w+ \w+) on the left or right of the (\w+ \w+)\?', question)
    a, b = by_words[found[1]].box, by_words[found[2]].box
    return 'left' if a[0] + a[2] < b[0] + b[2] else 'right'


def test_questions_have_the_answer_that_the_scene_gives():
    for index in range(1, 25):
        objects = draw_train_scene(index).objects
        for question in make_questions(np.random.default_rng(index), objects, SEEN):
            assert question.answer == _true_answer(question.text, objects), (index, question.text)
            assert question.flippable == ('left or right' not in question.text)


def test_questions_ask_for_absent_pairs_from_the_given_ones_only():
    texts = {q.text for seed in range(200) for q in make_questions(np.random.default_rng(seed), THREE, SEEN)}
    assert 'is there a red circle?' in texts
    assert not [text for text in texts for colour, shape in HELD_OUT if f'{colour} {shape}' in text]
