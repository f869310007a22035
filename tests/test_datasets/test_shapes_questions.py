"""More questions about shapes: true, of known kinds, none of them twice, and readable as VQA v2 files."""

import json
import subprocess
import sys
from collections import Counter

import pytest
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.shapes_grounding import Look, objects_by_image
from glipv2_mmdet.datasets.shapes_questions import PER_SCENE, all_questions, practice_questions
from tests.conftest import REPOSITORY

SCENE = (
    Look('red', 'circle', (0, 0, 20, 20)),
    Look('blue', 'star', (100, 4, 120, 24)),
    Look('blue', 'cross', (100, 60, 120, 80)),
)


def test_a_scene_by_hand():
    kinds = all_questions(SCENE, (160, 100))
    asked = {kind: {q.text: q.answer for q in questions} for kind, questions in kinds.items()}
    assert set(asked) == set(PER_SCENE)
    assert [q for q, answer in asked['presence'].items() if answer == 'yes'] == [
        'is there a red circle?',
        'is there a blue star?',
        'is there a blue cross?',
    ]
    assert len(asked['presence']) == 30
    assert {q: n for q, n in asked['number'].items() if n != '0'} == {
        'how many circles are there?': '1',
        'how many stars are there?': '1',
        'how many crosses are there?': '1',
        'how many red things are there?': '1',
        'how many blue things are there?': '2',
    }
    assert asked['colour'] == {
        'what color is the circle?': 'red',
        'what color is the star?': 'blue',
        'what color is the cross?': 'blue',
    }
    assert asked['shape'] == {'what shape is the red thing?': 'circle'}  # two things are blue
    sides = {
        name: where
        for name, where in (
            ('red circle', ('left', 'above')),
            ('circle', ('left', 'above')),
            ('red thing', ('left', 'above')),
            ('blue star', ('right', 'above')),
            ('star', ('right', 'above')),
            ('blue cross', ('right', 'below')),
            ('cross', ('right', 'below')),
        )
    }  # two things are blue
    assert asked['middle'] == {
        f'is the {name} {question} the middle?': answer
        for name, where in sides.items()
        for question, answer in zip(('on the left or right of', 'above or below'), where, strict=True)
    }
    assert asked['side'] == {
        'is the red circle on the left or right of the blue star?': 'left',
        'is the red circle on the left or right of the blue cross?': 'left',
        'is the blue star on the left or right of the red circle?': 'right',
        'is the blue cross on the left or right of the red circle?': 'right',
    }  # star and cross are in one column
    assert asked['height']['is the blue star above the blue cross?'] == 'yes'
    assert asked['height']['is the blue star below the blue cross?'] == 'no'
    assert len(asked['height']) == 8  # circle and star are level
    assert asked['side of height']['is the blue cross above or below the red circle?'] == 'below'


def test_they_agree_with_the_questions_of_the_rendering(shapes_dir):
    folder = shapes_dir / 'annotations'
    scenes = json.loads((folder / 'train.json').read_text())
    questions, answers = (json.loads((folder / f'{name}_train.json').read_text()) for name in ('questions', 'answers'))
    known = {entry['question_id']: entry['multiple_choice_answer'] for entry in answers['annotations']}
    objects = objects_by_image(scenes)
    for entry in questions['questions']:
        kinds = all_questions(objects[entry['image_id']], (200, 200))
        asked = {q.text: q.answer for questions in kinds.values() for q in questions}
        assert asked[entry['question']] == known[entry['question_id']]


def test_every_scene_has_its_share_and_no_question_twice(shapes_dir):
    questions, answers = practice_questions(shapes_dir)
    assert (questions, answers) == practice_questions(shapes_dir) != practice_questions(shapes_dir, seed=1)
    texts = Counter((entry['image_id'], entry['question']) for entry in questions['questions'])
    per_scene = Counter(image for image, _ in texts)
    assert max(texts.values()) == 1 and len(per_scene) == 24 and max(per_scene.values()) <= sum(PER_SCENE.values())
    sides = Counter(entry['multiple_choice_answer'] for entry in answers['annotations'])
    assert abs(sides['left'] - sides['right']) < 0.25 * sides['left']
    ids = {entry['question_id'] for entry in questions['questions']}
    shipped = json.loads((shapes_dir / 'annotations' / 'questions_train.json').read_text())['questions']
    assert len(ids) == len(questions['questions']) and ids.isdisjoint(entry['question_id'] for entry in shipped)


def test_zero_shot_scenes_have_objects_without_a_box(shapes_dir):
    with pytest.raises(ValueError, match="split is 'zero_shot'"):
        practice_questions(shapes_dir, 'zero_shot')


def test_the_tool_writes_files_that_the_data_set_reads(shapes_dir, tmp_path):
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'train.json').write_bytes((shapes_dir / 'annotations' / 'train.json').read_bytes())
    tool = REPOSITORY / 'tools' / 'dataset_converters' / 'more_shapes_questions.py'
    done = subprocess.run([sys.executable, tool, tmp_path], check=True, capture_output=True, text=True)
    data = DATASETS.build(
        dict(
            type='VQADataset',
            data_root=f'{tmp_path}/',
            question_file='annotations/more_questions_train.json',
            ann_file='annotations/more_answers_train.json',
            image_info_file='annotations/train.json',
            answers=['yes', 'no', 'left', 'right', 'above', 'below'],
            group_by_image=True,
            pipeline=[],
        )
    )
    assert len(data) == 24
    assert f'{sum(len(data.get_data_info(k)["questions"]) for k in range(24))} questions' in done.stdout
