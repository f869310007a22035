"""VQAMetric: accuracy per kind of question, the baseline, and the file for the server."""

import json

import pytest
from mmdet.registry import METRICS

from glipv2_mmdet.structures import Answers


def _sample(question_id, answer, people, question_type='is the', answer_type='yes/no'):
    return dict(
        question_id=question_id,
        pred_answers=Answers((answer, 'other'), (0.9, 0.1)),
        gt_answers=people,
        question_type=question_type,
        answer_type=answer_type,
    )


SAMPLES = [
    _sample(12, 'yes', ['yes'] * 10),
    _sample(7, 'no', ['yes'] * 9 + ['no']),
    _sample(9, '2', ['2'] * 3 + ['3'] * 7, 'how many', 'number'),
]


def _evaluate(samples, **settings):
    metric = METRICS.build(dict(type='VQAMetric', **settings))
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_accuracy_is_the_mean_of_each_group():
    assert _evaluate(SAMPLES) == pytest.approx(
        {
            'vqa/accuracy': (1 + 0.3 + 0.9) / 3,
            'vqa/answer_type/yes/no': 0.65,
            'vqa/answer_type/number': 0.9,
            'vqa/question_type/is the': 0.65,
            'vqa/question_type/how many': 0.9,
            'vqa/evaluator': 2021,
        }
    )


@pytest.mark.parametrize(('settings', 'accuracy', 'year'), [({}, 1.0, 2021), (dict(evaluator='2017'), 0.0, 2017)])
def test_the_rule_is_chosen_by_name_and_stands_in_the_figures(settings, accuracy, year):
    figures = _evaluate([_sample(1, 't-shirt', ['t-shirt'] * 10)], **settings)
    assert figures['vqa/accuracy'] == accuracy and figures['vqa/evaluator'] == year


def test_the_baseline_gives_the_most_frequent_training_answer_of_each_type(tmp_path):
    path = tmp_path / 'train.json'
    path.write_text(
        json.dumps(
            dict(
                annotations=[
                    dict(question_type=kind, multiple_choice_answer=answer)
                    for kind, answer in [('is the', 'no'), ('is the', 'no'), ('is the', 'yes')]
                ]
            )
        )
    )
    figures = _evaluate(SAMPLES, baseline_ann_file=str(path))
    assert figures['vqa/baseline_question_type/is the'] == pytest.approx(0.15)
    assert figures['vqa/baseline_question_type/how many'] == 0  # a type that training lacks gets the overall 'no'
    assert figures['vqa/baseline_accuracy'] == pytest.approx(0.1)


def test_the_server_file_has_every_question_once_and_needs_no_annotations(tmp_path):
    prefix = tmp_path / 'new' / 'vqa_OpenEnded_mscoco_test2015_nano'
    samples = [
        dict(question_id=number, pred_answers=Answers((answer,), (0.5,)))
        for number, answer in [(30, 'red'), (4, 'yes')]
    ]
    assert _evaluate(samples, format_only=True, outfile_prefix=str(prefix)) == {}
    written = json.loads(prefix.with_name(f'{prefix.name}_results.json').read_text())
    assert written == [dict(question_id=4, answer='yes'), dict(question_id=30, answer='red')]


def test_errors_say_what_to_set(tmp_path):
    with pytest.raises(ValueError, match='without outfile_prefix'):
        METRICS.build(dict(type='VQAMetric', format_only=True))
    with pytest.raises(ValueError, match='baseline_ann_file is for comparing'):
        METRICS.build(dict(type='VQAMetric', format_only=True, outfile_prefix='x', baseline_ann_file='y'))
    with pytest.raises(ValueError, match="evaluator is '2020'"):
        METRICS.build(dict(type='VQAMetric', evaluator='2020'))
    with pytest.raises(ValueError, match='1 of 1 questions have no annotated answers, for example question 4'):
        _evaluate([dict(question_id=4, pred_answers=Answers(('yes',), (0.5,)))])
    with pytest.raises(ValueError, match='question 4 has no pred_answers'):
        _evaluate([dict(question_id=4)])
