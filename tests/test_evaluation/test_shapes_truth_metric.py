"""ShapesCaptionTruth: the data's own captions are true of their scenes, and false ones are found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmdet.registry import METRICS

from benchmarks import caption_baseline
from glipv2_mmdet.datasets.shapes_scene import SceneObject
from glipv2_mmdet.evaluation.shapes_truth_metric import is_true, read_objects


def _object(colour, shape, box, size='medium', texture='plain'):
    return SceneObject(colour, shape, size, texture, mask=np.zeros((1, 1), dtype=bool), box=box, visible=1.0)


SCENE = (
    _object('red', 'circle', (0, 0, 20, 20), 'small'),
    _object('red', 'circle', (60, 5, 90, 65), 'large', 'striped'),
    _object('blue', 'cross', (40, 90, 80, 130)),
)


@pytest.mark.parametrize(
    'caption',
    [
        'two red circles.',
        'a blue cross and two circles',
        'small red circle, striped thing and cross.',
        'there is a small circle above a blue cross.',
        'a cross below a striped circle.',
        'a picture of two red things.',
        'a striped circle and a cross. the striped circle is large.',
    ],
)
def test_true_captions(caption):
    assert is_true(caption, SCENE) is True


@pytest.mark.parametrize(
    'caption',
    [
        'a red circle.',
        'three circles.',
        'a green cross.',
        'a cross above a small circle.',
        'two crosses.',
        'a small circle and a small thing.',  # the same object twice
        'two red circles above a cross.',  # said of single objects only
        'a striped circle. the striped circle is small.',
        'a cross. the red circle is large.',
    ],
)
def test_false_captions(caption):
    assert is_true(caption, SCENE) is False


@pytest.mark.parametrize(
    'caption',
    [
        '',
        'two circle.',
        'a crosses.',
        'two crosss.',
        'a red',
        'a dog.',
        'a cross and',
        'red small circle.',
        'a cross, a striped circle above a small circle.',
    ],
)
def test_what_the_data_never_says_is_neither(caption):
    assert is_true(caption, SCENE) is None


@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_caption_of_the_data_is_true_of_its_scene_and_few_of_another(shapes_dir, split):
    objects = read_objects(str(shapes_dir / f'annotations/{split}.json'))
    captions = json.loads((shapes_dir / f'annotations/captions_{split}.json').read_text())['annotations']
    assert all(is_true(entry['caption'], objects[entry['image_id']]) for entry in captions)
    keys = sorted(objects)
    other = [is_true(entry['caption'], objects[keys[keys.index(entry['image_id']) - 1]]) for entry in captions]
    assert None not in other and sum(other) < len(other) / 4


def test_the_metric_counts_true_and_readable_captions(shapes_dir):
    metric = METRICS.build(dict(type='ShapesCaptionTruth', ann_file=str(shapes_dir / 'annotations/val.json')))
    entry = json.loads((shapes_dir / 'annotations/captions_val.json').read_text())['annotations'][0]
    metric.process(
        {},
        [
            dict(img_id=entry['image_id'], pred_caption=text)
            for text in (entry['caption'], 'six white stars.', 'six six.', 'nothing')
        ],
    )
    assert metric.evaluate(size=4) == {'shapes/true': 0.25, 'shapes/readable': 0.5}


def test_scenes_whose_objects_are_not_all_known_are_refused(shapes_dir):
    with pytest.raises(ValueError, match=r'held-out categories; expected train\.json or val\.json'):
        read_objects(str(shapes_dir / 'annotations/zero_shot.json'))


def test_the_baseline_scores_captions_that_do_not_look(shapes_dir, capsys):
    rows = caption_baseline.main(['--data', str(shapes_dir), '--metrics', 'ROUGE_L'])
    assert [row['baseline'] for row in rows] == ['frequent', 'template']
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{')] == rows
    for row in rows:
        assert row['shapes/readable'] == 1.0 and 0 < row['caption/ROUGE_L'] < 1 and row['caption'].endswith('.')
