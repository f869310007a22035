from __future__ import annotations

import importlib.machinery
import sys
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glipv2_mmdet.text import find_noun_phrases, noun_phrases
from tests.test_text.wild_text import wild_text

WORDS = ['a', 'the', 'red', 'dog', 'dogs', 'runs', 'parked', ',', '.', 'of', "man's", '\n', 'two', 'to', '🐶']


@pytest.fixture
def fresh_choice():
    """The choice of a backend is made anew, and forgotten afterwards."""
    noun_phrases._chunker.cache_clear()
    yield
    noun_phrases._chunker.cache_clear()


def install(monkeypatch, name, **content):
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def by_rules(caption):
    return [words for words, _ in find_noun_phrases(caption, backend='rules')]


@pytest.mark.parametrize(
    ('caption', 'phrases'),
    [
        ('There is two cat and a remote in the picture', ['two cat', 'a remote', 'the picture']),
        (
            'a man in a red jacket rides a bicycle past two parked cars',
            ['a man', 'a red jacket', 'a bicycle', 'two parked cars'],
        ),
        (
            "The skateboarder's small brown dog, lying under a wooden dining table, looks at the potted plant.",
            ["The skateboarder's small brown dog", 'a wooden dining table', 'the potted plant'],
        ),
        ('cat. dog.', ['cat', 'dog']),
        ('find the red car', ['the red car']),
        ('show me all the dogs wearing hats', ['all the dogs', 'hats']),
        ('A girl in a green hat feeds two goats .', ['A girl', 'a green hat', 'two goats']),
        ('two watches on a table', ['two watches', 'a table']),
        ('a man watches tv', ['a man', 'tv']),
        ('a can of soda', ['a can', 'soda']),
        ('person riding a bike', ['person', 'a bike']),
        ('a car parked near a parked car', ['a car', 'a parked car']),
        (
            'On a sunny , dry day , a Texas A&M football player runs',
            ['a sunny , dry day', 'a Texas A&M football player'],
        ),
        ('a brightly colored kite', ['a brightly colored kite']),
        ('the left', ['the left']),
        ('she looks at him', []),
        ('running', []),
        ('', []),
        ('red triangle left of blue square', ['red triangle', 'blue square']),
        ('Ground the goldfish on the vegetable', ['the goldfish', 'the vegetable']),
        ('a dog on the ground with two drinks', ['a dog', 'the ground', 'two drinks']),
        ('the left dog at a traffic light', ['the left dog', 'a traffic light']),
        ('狗和猫，鸟', ['狗和猫', '鸟']),
    ],
)
def test_the_rules_find_what_a_person_would(caption, phrases):
    assert by_rules(caption) == phrases


def test_a_phrase_that_occurs_again_is_one_entry_with_several_spans():
    assert find_noun_phrases('A dog sees a\ndog and a cat', 'rules') == [
        ('A dog', ((0, 5), (11, 16))),
        ('a cat', ((21, 26),)),
    ]


@settings(max_examples=100, deadline=None)
@given(st.one_of(wild_text(max_size=60), st.lists(st.sampled_from(WORDS)).map(' '.join)))
def test_spans_are_words_of_the_caption_in_order_without_overlap(caption):
    found = find_noun_phrases(caption, 'rules')
    for words, spans in found:
        for start, end in spans:
            assert ' '.join(caption[start:end].split()).casefold() == words.casefold()
    spans = sorted(span for _, spans in found for span in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert [spans[0] for _, spans in found] == sorted(spans[0] for _, spans in found)


def test_a_hundred_kilobytes_are_no_problem():
    found = find_noun_phrases('a dog and a cat. ' * 6000, 'rules')
    assert [(words, len(spans)) for words, spans in found] == [('a dog', 6000), ('a cat', 6000)]


def test_spacy_is_used_when_a_model_is_installed(monkeypatch, fresh_choice):
    def parse(caption):
        chunk = SimpleNamespace(start_char=0, end_char=5, root=SimpleNamespace(pos_='NOUN'))
        pronoun = SimpleNamespace(start_char=10, end_char=12, root=SimpleNamespace(pos_='PRON'))
        return SimpleNamespace(noun_chunks=[chunk, pronoun])

    loaded = []
    models = ['de_core_news_sm', 'en_core_web_md', 'en_core_web_sm']
    install(
        monkeypatch,
        'spacy',
        load=lambda name: loaded.append(name) or parse,
        util=SimpleNamespace(get_installed_models=lambda: models),
    )
    assert find_noun_phrases('a dog and it') == [('a dog', ((0, 5),))]
    assert find_noun_phrases('a cat and it') == [('a cat', ((0, 5),))]
    assert loaded == ['en_core_web_sm']
    # longer than its parser can hold: rules
    assert find_noun_phrases('a dog. ' * 20_000)[0][0] == 'a dog'


def test_nltk_is_used_when_its_tagger_is_installed(monkeypatch, fresh_choice):
    tags = {'a': 'DT', 'big': 'JJ', 'dog': 'NN', 'chases': 'VBZ', 'cats': 'NNS', '.': '.', 'i̇zmir': 'NNP'}
    install(monkeypatch, 'nltk', pos_tag=lambda words: [(word, tags.get(word, 'XX')) for word in words])
    install(monkeypatch, 'spacy', util=SimpleNamespace(get_installed_models=list))
    assert find_noun_phrases('A big Dog chases CATS.') == [('A big Dog', ((0, 9),)), ('CATS', ((17, 21),))]
    assert find_noun_phrases('İzmir cats.') == [('İzmir cats', ((0, 10),))]


def test_packages_without_their_data_fall_back_to_rules(monkeypatch, fresh_choice):
    def no_data(words):
        raise LookupError('Resource averaged_perceptron_tagger not found.')

    install(monkeypatch, 'nltk', pos_tag=no_data)
    install(monkeypatch, 'spacy', util=SimpleNamespace(get_installed_models=list))
    assert find_noun_phrases('two cat or a remote') == [('two cat', ((0, 7),)), ('a remote', ((11, 19),))]
    for backend in ('spacy', 'nltk'):
        with pytest.raises(RuntimeError, match=rf"backend '{backend}' cannot be used here\. .*'rules'"):
            find_noun_phrases('a dog', backend)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r"backend is 'stanza'\. Expected 'auto' or one of \['spacy'"):
        find_noun_phrases('a dog', 'stanza')
