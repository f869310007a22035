"""The list of answers, from a config or a file."""

import json

import pytest

from glipv2_mmdet.text import AnswerVocabularyError, read_answers


def test_a_list_and_a_file_give_the_same_words_in_the_same_order(tmp_path):
    path = tmp_path / 'answers.json'
    path.write_text(json.dumps(['yes', 'no', 'café']))
    assert read_answers(['yes', 'no', 'café']) == read_answers(path) == read_answers(str(path)) == ('yes', 'no', 'café')


@pytest.mark.parametrize(
    ('answers', 'message'),
    [
        ([], 'Expected a list of answers'),
        ({'yes': 0}, 'Expected a list of answers'),
        (['yes', 3], '3 at position 1'),
        (['yes', ''], 'position 1'),
        (['no', 'yes', 'no'], r'"no" twice \(positions 0 and 2\)'),
    ],
)
def test_what_is_no_vocabulary_is_refused(answers, message):
    with pytest.raises(AnswerVocabularyError, match=message):
        read_answers(answers)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'answers.json" is not there. Make one with tools/'):
        read_answers(tmp_path / 'answers.json')
    (tmp_path / 'broken.json').write_text('["yes"')
    with pytest.raises(AnswerVocabularyError, match='is not json'):
        read_answers(tmp_path / 'broken.json')


@pytest.mark.parametrize('content', ['[' * 100_000, '[' + '1' * 6000 + ']', r'["\ud83d"]'])
def test_files_that_would_break_something_later_are_refused(tmp_path, content):
    file = tmp_path / 'answers.json'
    file.write_text(content)
    with pytest.raises(AnswerVocabularyError, match=r'answers\.json'):
        read_answers(file)
