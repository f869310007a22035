"""VQADataset and what is made for it: official files, soft targets, groups, grounding records, vocabulary, split."""

import json

import numpy as np
import pytest
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.conversion import (
    choose_answers,
    choose_images,
    count_answers,
    join_labels,
    question_captions,
)
from glipv2_mmdet.datasets.shapes_grounding import ground_questions
from glipv2_mmdet.datasets.vqa_records import VQAError, grounding_of

QUESTIONS = [
    dict(question_id=1, image_id=7, question='Is it wet?'),
    dict(question_id=2, image_id=8, question='Why?'),
    dict(question_id=3, image_id=7, question='How many?'),
]
PEOPLE = {1: ['yes'] * 2 + ['no'] * 8, 2: ['because'] * 10, 3: ['2'] * 10}


def _write(folder, questions=QUESTIONS, people=PEOPLE):
    (folder / 'q.json').write_text(json.dumps(dict(questions=questions)))
    (folder / 'a.json').write_text(
        json.dumps(
            dict(
                annotations=[
                    dict(
                        question_id=key,
                        question_type='is',
                        answer_type='other',
                        multiple_choice_answer=answers[-1],
                        answers=[dict(answer=answer) for answer in answers],
                    )
                    for key, answers in people.items()
                ]
            )
        )
    )
    return folder


def _build(folder, **settings):
    return DATASETS.build(
        {
            **dict(
                type='VQADataset',
                data_root=f'{folder}/',
                question_file='q.json',
                ann_file='a.json',
                answers=['yes', 'no', '2'],
                image_template='COCO_val2014_{image_id:012d}.jpg',
                data_prefix=dict(img='images/'),
                pipeline=[],
            ),
            **settings,
        }
    )


def test_samples_hold_the_question_its_image_and_soft_targets(tmp_path):
    data = _build(_write(tmp_path))
    samples = [data.get_data_info(k) for k in range(3)]
    assert [s['text'] for s in samples] == ['Is it wet?', 'Why?', 'How many?']
    assert samples[0]['img_path'] == f'{tmp_path}/images/COCO_val2014_000000000007.jpg'
    np.testing.assert_allclose(samples[0]['answer_scores'], [0.6, 1, 0])
    np.testing.assert_allclose(samples[1]['answer_scores'], [0, 0, 0])  # unknown answer, and the question stays
    capped = _build(tmp_path, soft_scores='capped').get_data_info(0)
    np.testing.assert_allclose(capped['answer_scores'], [2 / 3, 1, 0], rtol=1e-6)


def test_questions_of_an_image_form_one_sample(tmp_path):
    data = _build(_write(tmp_path), group_by_image=True)
    first = data.get_data_info(0)
    assert len(data) == 2 and first['questions'] == ['Is it wet?', 'How many?'] and first['question_id'] == [1, 3]
    np.testing.assert_allclose(first['answer_scores'], [[0.6, 1, 0], [0, 0, 1]])


def test_a_test_split_has_no_annotations(tmp_path):
    sample = _build(_write(tmp_path), ann_file='', answers=None).get_data_info(0)
    assert 'answer_scores' not in sample and 'gt_answers' not in sample


def test_a_split_by_images_and_its_rest_are_all_questions(tmp_path):
    (_write(tmp_path) / 'dev.json').write_text('[8]')
    assert [len(_build(tmp_path, **{key: 'dev.json'})) for key in ('only_images', 'without_images')] == [1, 2]


def test_only_questions_of_the_named_types(shapes_dir):
    settings = dict(
        question_file='annotations/questions_train.json',
        ann_file='annotations/answers_train.json',
        image_template=None,
        image_info_file='annotations/train.json',
        answers=None,
    )
    data = _build(shapes_dir, only_types=('how many', 'is there a'), **settings)
    assert {data.get_data_info(k)['question_type'] for k in range(len(data))} == {'how many', 'is there a'}
    assert len(data) == 48  # one of each per scene
    with pytest.raises(VQAError, match=r"only_types is \('how much',\); expected .*: how many, is the, is there a"):
        _build(shapes_dir, only_types=('how much',), **settings)
    for wrong in ('how many', ()):
        with pytest.raises(VQAError, match=r'only_types is .*; expected a list of question types'):
            _build(shapes_dir, only_types=wrong, **settings)


@pytest.mark.parametrize(
    ('questions', 'people', 'message'),
    [
        ([dict(question_id=5, image_id=1, question=' ?')], PEOPLE, 'question 5: question .* a letter or digit'),
        ([*QUESTIONS, QUESTIONS[0]], PEOPLE, 'question 1 is there twice'),
        (QUESTIONS, {1: ['yes']}, 'question 2: not annotated'),
        ([], PEOPLE, 'no questions'),
    ],
)
def test_bad_files_name_the_question(tmp_path, questions, people, message):
    with pytest.raises(VQAError, match=message):
        _build(_write(tmp_path, questions, people))


def test_grounding_records_become_phrases_and_boxes():
    record = dict(
        question_id=1,
        text='what star?',
        caption='what star? red',
        tokens_positive=[[[5, 9], [11, 14]], [[5, 9]], [[5, 9]]],
        bboxes=[[0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 3, 3]],
    )
    found = grounding_of(record, 'here')
    assert found['tokens_positive'] == [[[5, 9], [11, 14]], [[5, 9]]]
    assert [item['bbox_label'] for item in found['instances']] == [0, 1, 1]
    with pytest.raises(VQAError, match=r'here: caption .* does not begin with the question'):
        grounding_of({**record, 'caption': 'star'}, 'here')


def test_shapes_questions_are_grounded_where_their_objects_are(shapes_dir, tmp_path):
    records = list(ground_questions(shapes_dir, 'train'))
    counted = [r for r in records if r['text'].startswith('how many')]
    assert counted and all(len(r['bboxes']) == int(r['caption'].rsplit(' ', 1)[1]) for r in counted)
    assert all(not r['bboxes'] for r in records if r['text'].startswith('is there') and r['caption'].endswith('no'))
    for r in records:
        for spans in r['tokens_positive']:
            assert all(r['caption'][a:b].strip() == r['caption'][a:b] != '' for a, b in spans)


def test_labels_of_question_and_answer_come_back_to_their_question(tmp_path):
    _write(tmp_path)
    captions = list(question_captions(tmp_path / 'q.json', tmp_path / 'a.json', '{image_id}.jpg'))
    assert captions[0] == dict(filename='7.jpg', question_id=1, text='Is it wet?', caption='Is it wet? no')
    (tmp_path / 'l.jsonl').write_text(
        json.dumps(
            dict(
                filename='7.jpg',
                height=4,
                width=5,
                grounding=dict(
                    caption='Is it wet? no', regions=[dict(bbox=[[0, 0, 2, 2]], score=[0.7], tokens_positive=[[3, 5]])]
                ),
            )
        )
        + '\n'
    )
    (record,) = join_labels(captions, [tmp_path / 'l.jsonl'])
    assert record['question_id'] == 1 and record['bboxes'] == [[0, 0, 2, 2]] and record['tokens_positive'] == [[[3, 5]]]


def test_the_vocabulary_is_by_frequency_then_alphabet(tmp_path):
    answers = ['b', 'a', 'The dog.', 'dog', 'dog', 'b', 'a', 'rare']
    (tmp_path / 'a.json').write_text(json.dumps(dict(annotations=[dict(multiple_choice_answer=a) for a in answers])))
    counts = count_answers([tmp_path / 'a.json'])
    assert choose_answers(counts, 2) == ['dog', 'b'] and counts['a'] == 0  # an article is no answer
    with pytest.raises(VQAError, match='Lower --min-count'):
        choose_answers(counts, 9)


def test_the_development_split_depends_on_the_seed_alone():
    assert choose_images(range(50), 5) == choose_images(reversed(range(50)), 5) != choose_images(range(50), 5, seed=1)
    with pytest.raises(VQAError, match='the question file has 3'):
        choose_images([1, 2, 3, 3], 4)
