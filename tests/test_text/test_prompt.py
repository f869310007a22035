from __future__ import annotations

import ast
import pickle
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glipv2_mmdet.text import (
    Phrase,
    Prompt,
    PromptError,
    clean_class_name,
    parse_prompt,
    prompt_from_caption,
    prompt_from_classes,
)
from tests.test_text.wild_text import wild_text


def words(prompt: Prompt) -> list[list[str]]:
    return [[prompt.text[start:end] for start, end in phrase.spans] for phrase in prompt.phrases]


# --- class lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'cleaned'),
    [
        ('cat', 'cat'),
        ('traffic_light', 'traffic light'),
        ('bow_(weapon)', 'bow'),
        ('arctic_(type_of_shoe)', 'arctic'),
        ('  two   blanks\tand\na line ', 'two blanks and a line'),
        ('cup (red) and plate (blue)', 'cup and plate'),
        ('dog (a (nested) remark)', 'dog'),
        ('open (bracket', 'open (bracket'),
        ('St. Bernard', 'St. Bernard'),
        ('white cross.', 'white cross'),
        ('white cross . ', 'white cross'),
        ('the U.S.', 'the U.S'),
        ('cabinet/shelf', 'cabinet/shelf'),
        ('()', ''),
    ],
)
def test_labels_become_words(given, cleaned):
    assert clean_class_name(given) == cleaned


def test_classes_are_joined_with_dot_and_blank_and_nothing_at_the_end():
    prompt = prompt_from_classes(['person', 'traffic_light', 'bow_(weapon)'])
    assert prompt.text == 'person. traffic light. bow'
    assert prompt.phrases == (
        Phrase('person', ((0, 6),)),
        Phrase('traffic_light', ((8, 21),)),
        Phrase('bow_(weapon)', ((23, 26),)),
    )
    assert prompt.is_detection
    assert prompt.names == ('person', 'traffic_light', 'bow_(weapon)')


def test_a_dot_inside_a_listed_name_stays_one_class():
    prompt = prompt_from_classes(['St. Bernard', 'cat'])
    assert words(prompt) == [['St. Bernard'], ['cat']]


def test_names_that_are_equal_only_after_cleaning_are_both_kept():
    prompt = prompt_from_classes(('bow_(weapon)', 'bow_(decorative_ribbon)'))
    assert prompt.text == 'bow. bow'
    assert [phrase.spans for phrase in prompt.phrases] == [((0, 3),), ((5, 8),)]


def test_names_may_come_from_numpy_and_are_stripped():
    assert prompt_from_classes(np.array([' cat', 'dog '])).names == ('cat', 'dog')


def test_an_override_replaces_words_and_only_its_name_is_the_phrase():
    overrides = {'pothole': {'prefix': 'there are some ', 'name': 'holes', 'suffix': ' on the road'}}
    prompt = prompt_from_classes(['pothole', 'car'], overrides)
    assert prompt.text == 'there are some holes on the road. car'
    assert words(prompt) == [['holes'], ['car']]
    assert prompt.names == ('pothole', 'car')


def test_an_override_may_be_keyed_by_the_cleaned_name_and_leave_parts_out():
    prompt = prompt_from_classes(['traffic_light'], {'traffic light': {'suffix': ' at night'}})
    assert prompt.text == 'traffic light at night'
    assert words(prompt) == [['traffic light']]


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ([], r'list of class names is empty\. Expected a list'),
        ('cat . dog', r"'cat \. dog' \(str\)\. Expected a list .* parse_prompt\(text, custom_entities=True\)"),
        (b'cat', r'\(bytes\)\. Expected a list'),
        (None, r'None \(NoneType\)\. Expected a list'),
        (7, r'Class names are 7 \(int\)\. Expected a list'),
        ({'cat', 'dog'}, r'a set, which has no order'),
        ({0: 'cat'}, r'a dict, which has no order'),
        (['cat', 3], r"Class name 3 \(position 1\) is of type int\. Expected text: write '3' in quotes"),
        ([['cat', 'dog']], r'\(position 0\) is of type list\. Expected text'),
        (['cat', ''], r"Class name '' \(position 1\) has no letter or digit"),
        (['cat', '- . -'], r"Class name '- \. -' \(position 1\) has no letter or digit"),
        (['(cat)'], r"Class name '\(cat\)' \(position 0\) has no letter or digit once '\(\.\.\.\)'"),
        (['cat', '😀'], r'\(position 1\) has no letter or digit .* rename the class'),
        (['cat', 'dog', ' Cat '], r"' Cat ' is given twice \(positions 0 and 2\)\. .* remove or rename one"),
        (['cat', 'half \ud83d'], r'has half a character .* at position 10\. Expected valid Unicode'),
    ],
)
def test_class_lists_that_cannot_be_used(names, message):
    with pytest.raises(PromptError, match=message):
        prompt_from_classes(names)


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'crab': {'name': 'x'}}, r"Override for 'crab' matches no class name\. Expected one of \['cat'"),
        ({'cat': {'postfix': 'x'}}, r"Override for 'cat' is \{'postfix': 'x'\}\. Expected texts under 'prefix'"),
        ({'cat': {'name': 3}}, r"Override for 'cat' is \{'name': 3\}\. Expected texts"),
        ({'cat': 'kitten'}, r"Override for 'cat' is 'kitten'\. Expected texts"),
        ([{'name': 'kitten'}], r'Overrides are .* \(list\)\. Expected a dict from class name'),
        ({'cat': {'name': '...'}}, r"Class name 'cat' \(position 0\) has no letter or digit"),
    ],
)
def test_overrides_that_cannot_be_used(overrides, message):
    with pytest.raises(PromptError, match=message):
        prompt_from_classes(['cat', 'dog'], overrides)


def test_errors_stay_short_for_long_input():
    with pytest.raises(PromptError) as error:
        parse_prompt('.' * 100_000)
    assert len(str(error.value)) < 300


# --- captions ---------------------------------------------------------------------------------------------


def test_a_caption_with_spans_gets_a_dot_and_is_otherwise_unchanged():
    prompt = prompt_from_caption('a man in a red jacket', [[[0, 5]], [[9, 21]]])
    assert prompt.text == 'a man in a red jacket. '
    assert prompt.names == ('a man', 'a red jacket')
    assert not prompt.is_detection


@pytest.mark.parametrize('caption', ['a man rides.', 'a man rides. ', 'a man rides .\n'])
def test_a_caption_that_ends_in_a_dot_gets_no_second_one(caption):
    assert prompt_from_caption(caption, [[[0, 5]]]).text == caption


def test_a_phrase_may_have_several_spans():
    prompt = prompt_from_caption('The man looks at it', [[[0, 7], [8, 16]]])
    assert prompt.phrases == (Phrase('The man / looks at', ((0, 7), (8, 16))),)


def test_minus_one_makes_the_whole_caption_one_phrase():
    for value in (-1, np.int64(-1)):
        prompt = prompt_from_caption('  the left dog . ', value)
        assert prompt.phrases == (Phrase('the left dog', ((2, 14),)),)
        assert prompt.text == '  the left dog . '


def test_a_caption_without_spans_is_searched_for_noun_phrases():
    prompt = prompt_from_caption(' a dog and\na cat. ')
    assert prompt.text == 'a dog and\na cat'
    assert words(prompt) == [['a dog'], ['a cat']]


def test_a_caption_without_noun_phrase_is_one_phrase():
    assert prompt_from_caption('running.').phrases == (Phrase('running', ((0, 7),)),)


def test_a_caption_may_have_no_phrases_for_an_image_without_boxes():
    assert prompt_from_caption('a dog', []).phrases == ()


def test_names_of_phrases_can_be_given():
    assert prompt_from_caption('a dog', [[[0, 5]]], names=['pet']).names == ('pet',)


@pytest.mark.parametrize(
    ('tokens_positive', 'message'),
    [
        ([[[0, 6]]], r"Span \[0, 6\] in tokens_positive\[0\] lies outside the caption 'a dog' of 5 characters"),
        ([[[0, 1]], [[3, 3]]], r'Span \[3, 3\] in tokens_positive\[1\] lies outside .* correct the span'),
        ([[[-2, 3]]], r'Span \[-2, 3\] .* Expected 0 <= start < end <= 5'),
        ([[[1, 2]]], r'covers only blanks'),
        ([[0, 5]], r'tokens_positive\[0\] is \[0, 5\]\. Expected a list of \[start, end\] pairs'),
        ([[[0.0, 5.0]]], r'Expected a list of \[start, end\] pairs of whole numbers'),
        ([[]], r'tokens_positive\[0\] is empty'),
        (-2, r'tokens_positive is -2\. Expected -1'),
        (0.5, r'tokens_positive is 0\.5\. Expected -1'),
    ],
)
def test_spans_that_cannot_be_used(tokens_positive, message):
    with pytest.raises(PromptError, match=message):
        prompt_from_caption('a dog', tokens_positive)


def test_the_number_of_names_must_be_that_of_the_phrases():
    with pytest.raises(PromptError, match=r'the caption has 1 phrases\. Expected one text per phrase'):
        prompt_from_caption('a dog', [[[0, 5]]], names=['a', 'b'])


# --- the door ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ('cat . dog', ('cat', 'dog')),
        ('cat. dog.', ('cat', 'dog')),
        ('red circle . blue square', ('red circle', 'blue square')),
        ('a. b. c.', ('a', 'b', 'c')),
        (' . cat .. dog...', ('cat', 'dog')),
        ('cat.\ndog.\n', ('cat', 'dog')),
        ('cat', ('cat',)),
        ('cat.dog', ('cat.dog',)),
        ('v2.0 plug. usb 3.1', ('v2.0 plug', 'usb 3.1')),
        ('Löwe . 猫', ('Löwe', '猫')),
    ],
)
def test_a_string_of_classes_is_cut_at_dots_before_a_blank_or_the_end(text, names):
    prompt = parse_prompt(text, custom_entities=True)
    assert prompt.names == names
    assert prompt.is_detection


@pytest.mark.parametrize(
    ('text', 'hinted'),
    [
        ('ant.bee', True),
        ('ant, bee', True),
        ('ant .bee', True),
        ('ant; bee', True),
        ('ant。bee', True),
        ('ant', False),
        ('ant . bee', False),
        ('monitor/tv', False),
        ('usb 3.1', False),
    ],
)
def test_a_likely_slip_is_hinted_at_once(text, hinted, warnings_seen):
    from glipv2_mmdet.text import prompt

    prompt._hint_at_separator.cache_clear()
    for _ in range(3):
        parse_prompt(text, custom_entities=True)
    assert len(warnings_seen) == hinted
    if hinted:
        assert f"'{text}' is read as one class" in warnings_seen[0]
        assert "('cat . dog') or pass a list" in warnings_seen[0]


@pytest.mark.parametrize(
    ('names', 'hinted'),
    [
        (['white cross . green star'], ['white cross . green star']),
        (['cat. dog'], ['cat. dog']),
        (['cat, dog'], ['cat, dog']),
        # one prompt per image, as ground() takes them
        (['green star . white cross', 'white cross'], ['green star . white cross']),
        (['cat . dog.', 'bird ... fish'], ['cat . dog.', 'bird ... fish']),
        # names that have a dot or a comma, in a list that shows how names are separated
        (['St. Bernard', 'lamp, table', 'v2.0'], []),
        (['v2.0'], []),
        (['white cross.'], []),
        (['a' * 2000 + ', b'], []),
    ],
)
def test_an_entry_of_a_list_that_looks_like_several_names_is_hinted_at(names, hinted, warnings_seen):
    from glipv2_mmdet.text import prompt

    prompt._hint_at_list.cache_clear()
    for _ in range(2):
        parsed = parse_prompt(names)
    assert parsed.names == tuple(names)
    assert len(warnings_seen) == len(hinted)
    for name, warning in zip(hinted, warnings_seen, strict=True):
        assert f"'{name}' in the list of class names is read as one class" in warning
        assert "['cat', 'dog']" in warning and "'cat . dog'" in warning


def test_a_dot_at_the_end_of_a_class_name_is_no_part_of_the_phrase():
    with_dots, without = parse_prompt(['white cross.', 'green star .']), parse_prompt(['white cross', 'green star'])
    assert with_dots.text == without.text == 'white cross. green star'
    assert [phrase.spans for phrase in with_dots.phrases] == [phrase.spans for phrase in without.phrases]
    assert with_dots.names == ('white cross.', 'green star .')


def test_a_list_is_a_class_list_and_a_string_a_caption():
    assert parse_prompt(['a dog', 'a cat']).is_detection
    assert parse_prompt(('a dog',), custom_entities=True).is_detection
    assert not parse_prompt('a dog and a cat').is_detection


def test_spans_make_a_string_a_caption_even_with_custom_entities():
    prompt = parse_prompt('cat. dog', custom_entities=True, tokens_positive=[[[5, 8]]])
    assert (prompt.is_detection, prompt.names) == (False, ('dog',))


def test_overrides_reach_a_string_of_classes():
    assert parse_prompt('cat. dog', True, {'dog': {'prefix': 'a '}}).text == 'cat. a dog'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('',), r"Caption '' has no letter or digit\. Expected class names or a sentence"),
        (('...',), r"Caption '\.\.\.' has no letter or digit"),
        ((' . ', True), r"Prompt ' \. ' has no letter or digit"),
        (('🐶🐶',), r'has no letter or digit'),
        (([],), r'is empty'),
        ((None,), r'Class names are None'),
        (('a . b . a', True), r"Class name 'a' is given twice"),
        ((['a', 'b'], False, None, [[[0, 1]]]), r'tokens_positive was given together with list'),
        (('a dog', False, {'dog': {'name': 'x'}}), r"Overrides for \['dog'\] were given with the caption"),
    ],
)
def test_prompts_that_cannot_be_used(arguments, message):
    with pytest.raises(PromptError, match=message):
        parse_prompt(*arguments)


# --- the object -------------------------------------------------------------------------------------------


def test_a_prompt_is_a_key_whatever_it_was_built_from():
    from_lists = Prompt('a dog', [Phrase('a dog', [[0, np.int64(5)]])], False)
    from_tuples = Prompt('a dog', (Phrase('a dog', ((0, 5),)),), False)
    assert {from_lists: 1}[from_tuples] == 1
    assert pickle.loads(pickle.dumps(from_lists)) == from_tuples


@pytest.mark.parametrize('spans', [((0, 6),), ((-1, 2),), ((2, 2),), ((3, 1),), ()])
def test_a_prompt_refuses_spans_outside_its_text(spans):
    with pytest.raises(PromptError, match=r"(Span .*|Phrase) '?.*dog"):
        Prompt('a dog', (Phrase('dog', spans),), False)


@settings(max_examples=60, deadline=None)
@given(st.lists(wild_text(min_size=1, max_size=12), min_size=1, max_size=8))
def test_every_phrase_spans_its_cleaned_name_or_the_list_is_refused(names):
    try:
        prompt = prompt_from_classes(names)
    except PromptError:
        return
    assert words(prompt) == [[clean_class_name(name)] for name in names]
    assert prompt.text.split('. ')[0] == clean_class_name(names[0]).split('. ')[0]


@settings(max_examples=60, deadline=None)
@given(wild_text(max_size=80), st.booleans())
def test_any_string_is_a_prompt_or_a_prompt_error(text, custom_entities):
    try:
        prompt = parse_prompt(text, custom_entities)
    except PromptError:
        return
    assert prompt.phrases
    assert prompt.text.strip()


def test_the_text_package_imports_nothing_heavy(text_folder):
    allowed = {*sys.stdlib_module_names, 'mmengine', 'numpy', 'torch', 'transformers', 'tokenizers', 'spacy', 'nltk'}
    at_import = {*sys.stdlib_module_names, 'mmengine', 'numpy', 'torch'}

    def is_own(module):
        return f'{module}.'.startswith(('glipv2_mmdet.text.', 'glipv2_mmdet.files.', 'glipv2_mmdet.known_settings.'))

    for file in sorted(text_folder.glob('*.py')):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert is_own(node.module) or node.module.split('.')[0] in allowed, (file, node.module)
            elif isinstance(node, ast.Import):
                assert {alias.name.split('.')[0] for alias in node.names} <= allowed, file
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                assert is_own(node.module) or node.module.split('.')[0] in at_import, (file, node.module)


@pytest.mark.parametrize('text', ['.' * 100_000 + 'a', 'a' + '.' * 100_000, '(' * 50_000 + 'a' + ')' * 50_000 + 'b'])
def test_a_hundred_thousand_dots_or_parentheses_take_no_minutes(text):
    start = time.perf_counter()
    assert parse_prompt(text, custom_entities=True).names
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    'name, words', [('a(b(c)d)e', 'ae'), ('a) (b', 'a) (b'), ('((a)', '('), ('(a))b', ')b'), ('x (y) (z)', 'x')]
)
def test_parentheses_go_with_their_partners(name, words):
    assert clean_class_name(name) == words


@pytest.mark.parametrize(
    'make',
    [
        lambda: Phrase(None, ((0, 1),)),
        lambda: Phrase('cat', None),
        lambda: Phrase('cat', [[0]]),
        lambda: Phrase('cat', [['a', 'b']]),
        lambda: Prompt('a cat', None, False),
        lambda: Prompt('a cat', ['cat'], False),
        lambda: clean_class_name(3),
        lambda: prompt_from_classes(np.array('cat')),
        lambda: prompt_from_caption('a cat', [[[0, 5]]], names=3),
    ],
)
def test_a_wrong_type_is_a_prompt_error(make):
    with pytest.raises(PromptError, match='Expected'):
        make()
