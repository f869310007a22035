"""What counts as the same answer, what it is worth, and the official accuracy; worked out by hand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glipv2_mmdet.evaluation.vqa_answers import (
    capped_score,
    leave_one_out_score,
    majority_answers,
    normalise_answer,
    normalise_punctuation,
    soft_scores,
    vqa_accuracy,
)


@pytest.mark.parametrize(
    ('given_answer', 'expected'),
    [
        ('Yes', 'yes'),
        ('  red\n', 'red'),
        ('red\tand\nblue', 'red and blue'),
        ('the dog', 'dog'),
        ('a', ''),
        ('an apple', 'apple'),
        ('none', '0'),
        ('zero', '0'),
        ('two', '2'),
        ('Ten dogs', '10 dogs'),
        ('eleven', 'eleven'),
        ('dont', "don't"),
        ('Isnt it', "isn't it"),
        ('its', 'its'),
        ('lets', 'lets'),
        ('twas', "'twas"),
        ('couldntve', 'couldntve'),  # both apostrophes missing: not in the table
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("hed've", "he'd've"),
        ("y'alld've", "y'all'd've"),
        ("somebody'd", 'somebodyd'),
        ('Im', 'im'),
        ('oclock', "o'clock"),
        ('yes!', 'yes '.strip()),
        ('black-and-white', 'black and white'),
        ('black - white', 'black white'),  # beside a blank: deleted
        ('a/c', 'c'),  # 'a c', and then the article goes
        ('1,000', '1000'),
        ('1,000-2', '10002'),  # a number with a comma: every mark is deleted
        ('3.5', '3.5'),
        ('u.s.', 'us'),
        ('p.m. 5.', 'pm 5'),
        ("john's", "john's"),
        ('12:30', '12:30'),
        ('?', ''),
    ],
)
def test_predictions_are_normalised_as_the_evaluation_does(given_answer, expected):
    assert normalise_answer(given_answer) == expected


@pytest.mark.parametrize(
    ('given_answer', 'expected'), [('Two dogs!', 'Two dogs '), ('the 1,5', 'the 15'), ('dont', 'dont'), ('a.b', 'ab')]
)
def test_the_punctuation_step_leaves_words_alone(given_answer, expected):
    assert normalise_punctuation(given_answer) == expected


@given(st.text(max_size=30))
def test_normalised_answers_have_single_blanks_and_no_article(text):
    words = normalise_answer(text).split(' ')
    assert '' not in words or words == ['']
    assert not {'a', 'an', 'the'} & set(words)


@pytest.mark.parametrize(
    ('count', 'leave_one_out', 'capped'),
    [(0, 0, 0), (1, 0.3, 1 / 3), (2, 0.6, 2 / 3), (3, 0.9, 1), (4, 1, 1), (10, 1, 1)],
)
def test_soft_scores_by_number_of_people(count, leave_one_out, capped):
    assert leave_one_out_score(count) == pytest.approx(leave_one_out)
    assert capped_score(count) == pytest.approx(capped)


@given(st.integers(0, 10))
def test_the_target_is_the_official_accuracy_of_that_answer(count):
    annotators = ['cat'] * count + [f'other{k}' for k in range(10 - count)]
    assert leave_one_out_score(count) == pytest.approx(vqa_accuracy('cat', annotators))


def test_soft_scores_count_the_answers_as_they_stand():
    assert soft_scores(['net'] * 6 + ['netting', 'mesh', 'pitcher', 'orange']) == pytest.approx(
        {'net': 1, 'netting': 0.3, 'mesh': 0.3, 'pitcher': 0.3, 'orange': 0.3}
    )
    assert soft_scores(['x', 'x', 'y'], 'capped') == pytest.approx({'x': 2 / 3, 'y': 1 / 3})
    with pytest.raises(ValueError, match="soft_scores is 'hard'"):
        soft_scores(['x'], 'hard')


UNANIMOUS_AND_ONE = ['tv-remote'] * 9 + ['tv']


@pytest.mark.parametrize(
    ('answer', 'annotators', 'in_2021', 'in_2017'),
    [
        ('yes', ['yes'] * 10, 1.0, 1.0),
        ('no', ['yes'] * 10, 0.0, 0.0),
        ('yes', ['yes'] * 3 + ['no'] * 7, 0.9, 0.9),  # 3 x 2/3 and 7 x 1
        ('yes', ['yes'] * 2 + ['no'] * 8, 0.6, 0.6),
        ('no', ['yes'] * 9 + ['no'], 0.3, 0.3),
        # ten identical answers: as they stand in 2021; in 2017 only the prediction was changed
        ('t-shirt', ['t-shirt'] * 10, 1.0, 0.0),
        ('t shirt', ['t-shirt'] * 10, 0.0, 0.0),
        ('Yes.', ['yes'] * 10, 0.0, 1.0),
        ('two', ['2'] * 10, 0.0, 1.0),
        ('two', ['two'] * 10, 1.0, 0.0),
        ('the dog', ['the dog'] * 10, 1.0, 0.0),
        ('dont', ['dont'] * 10, 1.0, 0.0),
        ("don't", ['dont'] * 10, 0.0, 0.0),
        (' STOP\n', ['STOP'] * 10, 1.0, 0.0),  # blanks at the ends never count
        ('stop', ['STOP'] * 10, 0.0, 0.0),
        ('yes', ['yes'] * 5 + [' yes\n'] * 5, 1.0, 1.0),
        # different answers: both sides in full in 2021; people's punctuation alone in 2017
        ('tv remote', UNANIMOUS_AND_ONE, 1.0, 1.0),
        ('TV-remote', UNANIMOUS_AND_ONE, 1.0, 1.0),
        ('dog', ['the dog'] * 5 + ['cat'] * 5, 1.0, 0.0),
        ('2', ['two'] * 5 + ['three'] * 5, 1.0, 0.0),
        ("don't", ['dont'] * 5 + ['stop'] * 5, 1.0, 0.0),
        ('yes', ['Yes'] * 2 + ['yes'] + ['no'] * 7, 0.9, 0.3),
    ],
)
def test_official_accuracy_by_both_rules(answer, annotators, in_2021, in_2017):
    assert vqa_accuracy(answer, annotators) == vqa_accuracy(answer, annotators, '2021') == pytest.approx(in_2021)
    assert vqa_accuracy(answer, annotators, '2017') == pytest.approx(in_2017)


def test_both_rules_remove_32_periods_at_most():
    assert normalise_answer('.' * 33 + 'x') == '.x'


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"evaluator is '2020'. Expected one of \['2021', '2017'\]"):
        vqa_accuracy('yes', ['yes'], '2020')


@pytest.mark.real_data
@pytest.mark.parametrize(
    ('question', 'answer', 'expected'),
    [
        (458752000, 'net', 1.0),
        (458752000, 'mesh', 0.3),
        (458752000, 'pole', 0.0),
        (458752001, 'Pitcher', 1.0),
        (458752001, 'catcher', 0.3),
        (458752002, 'orange', 1.0),
        (458752002, 'red', 0.0),
    ],
)
def test_accuracy_on_real_annotations(shared_dir, question, answer, expected):
    path = shared_dir / 'data/vqa_sample/vqav2_annotations.json'
    if not path.is_file():
        pytest.skip(f'no sample of VQA v2 in {path.parent}')
    (entry,) = (e for e in json.loads(path.read_text())['annotations'] if e['question_id'] == question)
    assert vqa_accuracy(answer, [a['answer'] for a in entry['answers']]) == pytest.approx(expected)


def test_no_annotators_is_an_error():
    with pytest.raises(ValueError, match='without annotated answers'):
        vqa_accuracy('yes', [])


def test_majority_is_per_question_type_and_ties_go_to_the_first_in_the_alphabet():
    pairs = [('how many', '2'), ('how many', '1'), ('is the', 'yes'), ('is the', 'yes'), ('is the', 'no')]
    assert majority_answers(pairs) == {'': 'yes', 'how many': '1', 'is the': 'yes'}
    with pytest.raises(ValueError, match='No training answers'):
        majority_answers([])
