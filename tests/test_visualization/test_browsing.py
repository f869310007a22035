"""paint_samples and tools/browse_dataset.py: what a picture of a sample says, for each kind of data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from PIL import Image

from glipv2_mmdet.visualization import annotated_panel, paint_samples
from glipv2_mmdet.visualization.browsing import _annotations, boxes_stay_behind
from glipv2_mmdet.visualization.palette import phrase_colour
from tools import browse_dataset

CONFIGS = Path(__file__).parents[2] / 'configs/glipv2'
WITH_BOXES = [
    ('shapes_pretrain', 'train'),
    ('shapes_pretrain', 'val'),
    ('shapes_masks', 'train'),
    ('shapes_referring', 'train'),
    ('shapes_referring', 'val'),
]
TEXT_ALONE = [
    ('shapes_caption', 'train'),
    ('shapes_caption', 'val'),
    ('shapes_vqa', 'train'),
    ('shapes_vqa', 'val'),
    ('shapes_grounding', 'val'),
]


def read(name, shapes_dir):
    """A nano config on the small rendering."""
    cfg = Config.fromfile(CONFIGS / f'glipv2_nano_{name}.py')
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = f'{shapes_dir}/'
    return cfg


def shows_a_phrase(picture, rows):
    """Whether a colour of a phrase is among ``rows`` of a picture."""
    place = np.array([65536, 256, 1])
    return bool(np.isin(picture[rows] @ place, np.array([phrase_colour(k) for k in range(40)]) @ place).any())


@pytest.mark.parametrize(('name', 'split'), WITH_BOXES)
def test_boxes_and_prompt_have_colours(name, split, shapes_dir):
    painted = list(paint_samples(read(name, shapes_dir), split, number=2))
    assert len(painted) == 2
    for sample in painted:
        side = sample.picture.shape[1]
        panel = sample.picture.shape[0] - side // 2
        assert sample.picture.dtype == np.uint8 and Path(sample.source).is_file()
        assert shows_a_phrase(sample.picture, slice(0, panel))


@pytest.mark.parametrize(('name', 'split'), TEXT_ALONE)
def test_captions_and_questions_are_painted_without_boxes(name, split, shapes_dir):
    cfg = read(name, shapes_dir)
    if name == 'shapes_vqa':  # the practice questions are not part of a rendering
        cfg.train_dataloader.dataset.update(
            question_file='annotations/questions_train.json', ann_file='annotations/answers_train.json'
        )
    painted = next(iter(paint_samples(cfg, split, number=1)))
    assert painted.picture.shape[1] >= 480 and painted.index == 0


def test_a_mixture_is_read_through_its_wrappers(shapes_dir, tmp_path):
    cfg = read('shapes_mixed', shapes_dir)
    del cfg.train_dataloader.dataset['data_root']  # that of the parts counts
    parts = cfg.train_dataloader.dataset.dataset.datasets
    for part in parts:
        part.data_root = f'{shapes_dir}/'
    parts[1].update(ann_file='annotations/grounding_train.jsonl', index_folder=str(tmp_path))
    first, last = paint_samples(cfg, 'train', number=2)
    assert first.index == 0 and last.index > 24 and Path(last.source).is_file()


def test_annotations_that_stayed_in_original_pixels_follow_the_image():
    evaluation = [dict(type='LoadImageFromFile'), dict(type='Resize'), dict(type='LoadAnnotations')]
    training = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='Resize')]
    assert boxes_stay_behind(evaluation) and not boxes_stay_behind(training) and not boxes_stay_behind(evaluation[:2])
    sample = DetDataSample(metainfo=dict(scale_factor=(0.5, 0.25), img_shape=(25, 50)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[10.0, 20.0, 60.0, 80.0]]), labels=torch.tensor([0]))
    (moved,) = _annotations(sample, in_original_frame=True)
    assert moved.bboxes.tolist() == [[5.0, 5.0, 30.0, 20.0]]


def test_boxes_that_only_the_metric_reads_are_shown():
    sample = DetDataSample(
        metainfo=dict(
            scale_factor=(2.0, 2.0), img_shape=(100, 100), instances=[dict(bbox=[1.0, 2.0, 3.0, 4.0], bbox_label=0)]
        )
    )
    sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    assert _annotations(sample, in_original_frame=False)[0].bboxes.tolist() == [[2.0, 4.0, 6.0, 8.0]]
    sample.set_metainfo(dict(instances=[dict(bbox=[1.0, 2.0, 3.0, 4.0], bbox_label=[0, 1])]))
    assert _annotations(sample, in_original_frame=False) == []


def test_questions_come_with_what_people_answered():
    training = DetDataSample(
        metainfo=dict(questions=[f'question {k}?' for k in range(8)], answer_scores=np.eye(8, 3, dtype=np.float32))
    )
    texts = [paragraph.text for paragraph in annotated_panel(training, ('yes', 'no', 'red'))]
    assert texts[:4] == [
        'question 0?   yes 1.0',
        'question 1?   no 1.0',
        'question 2?   red 1.0',
        'question 3?   (no answer of the vocabulary)',
    ]
    assert texts[6:] == ['and 2 more questions']
    evaluation = DetDataSample(metainfo=dict(text='what colour?', gt_answers=['red', 'pink', 'red']))
    assert [paragraph.text for paragraph in annotated_panel(evaluation)] == ['what colour?   red ×2, pink']


def test_a_split_or_a_sample_that_is_not_there_is_named(shapes_dir):
    cfg = read('shapes_pretrain', shapes_dir)
    cfg.test_dataloader = None
    with pytest.raises(ValueError, match=r"The split is 'test'\. This config has data for train, val\."):
        next(paint_samples(cfg, 'test'))
    with pytest.raises(ValueError, match=r'Sample 99 was asked for; the data set has 8'):
        next(paint_samples(cfg, 'val', places=[99]))


def test_the_tool_writes_one_picture_per_sample(shapes_dir, tmp_path, capsys):
    browse_dataset.main(
        [
            str(CONFIGS / 'glipv2_nano_shapes_pretrain.py'),
            '--split',
            'val',
            '--samples',
            '3',
            '5',
            '--output-dir',
            str(tmp_path),
            '--cfg-options',
            f'val_dataloader.dataset.data_root={shapes_dir}/',
        ]
    )
    assert [file.name for file in sorted(tmp_path.iterdir())] == ['val_000003.png', 'val_000005.png']
    with Image.open(tmp_path / 'val_000003.png') as picture:
        assert picture.mode == 'RGB'
    assert 'images/val/000004.jpg' in capsys.readouterr().out
