"""ReferringDataset: phrases for one object or many, and broken records."""

from __future__ import annotations

import json

import pytest
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets import ReferringDataset
from glipv2_mmdet.datasets.referring import ReferringError

RECORD = dict(
    phrase_id=3,
    image_id=9,
    filename='9.jpg',
    height=20,
    width=30,
    phrase='the two white things',
    boxes=[[1, 2, 5, 8], [10, 2, 15, 8]],
    masks=[[[1, 2, 5, 2, 5, 8]], dict(size=[20, 30], counts='x')],
)


def read(tmp_path, *records) -> ReferringDataset:
    (tmp_path / 'phrases.jsonl').write_text(
        '\n'.join(record if isinstance(record, str) else json.dumps(record) for record in records)
    )
    return ReferringDataset(
        data_root=str(tmp_path), ann_file='phrases.jsonl', data_prefix=dict(img='images'), pipeline=[]
    )


def test_the_whole_phrase_is_the_only_thing_to_find(tmp_path):
    sample = read(tmp_path, RECORD, '').get_data_info(0)
    assert sample['text'] == 'the two white things' and sample['tokens_positive'] == [[[0, 20]]]
    assert sample['img_path'] == str(tmp_path / 'images' / '9.jpg') and sample['task_id'] == 3
    assert [instance['bbox'] for instance in sample['instances']] == [[1, 2, 5, 8], [10, 2, 15, 8]]
    assert [instance['bbox_label'] for instance in sample['instances']] == [0, 0]
    assert [instance['mask'] for instance in sample['instances']] == RECORD['masks']


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ('{"phrase_id": 3', r'phrases.jsonl:1: broken json .*Repair or delete the line'),
        ('[3]', r'phrases.jsonl:1: .* expected a json object'),
        ({key: value for key, value in RECORD.items() if key != 'masks'}, r'phrases.jsonl:1: no "masks" \(keys \['),
        (RECORD | dict(phrase=' ... '), r"phrases.jsonl:1: phrase ' ... '; expected a text with a letter"),
        (RECORD | dict(masks=[]), r'phrases.jsonl:1: 2 boxes but 0 masks; expected one mask per box'),
    ],
)
def test_a_broken_record_is_named(tmp_path, record, message):
    with pytest.raises(ReferringError, match=message):
        read(tmp_path, record)


def test_an_empty_file_is_an_error(tmp_path):
    with pytest.raises(ReferringError, match=r'phrases.jsonl: no records'):
        read(tmp_path, '')


def test_the_shapes_phrases_become_training_samples(shapes_dir):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='LoadMasks'),
        dict(type='GTBoxSubOne_GLIP'),
        dict(type='Resize', scale=(96, 96), keep_ratio=True),
        dict(type='CleanBoxes'),
        dict(type='BuildPrompt'),
        dict(type='PackDetInputs', meta_keys=('img_path', 'prompt')),
    ]
    data = DATASETS.build(
        dict(
            type='ReferringDataset',
            data_root=str(shapes_dir),
            ann_file='annotations/referring_train.jsonl',
            data_prefix=dict(img='images/train/'),
            pipeline=pipeline,
        )
    )
    several = 0
    for packed in data:
        sample = packed['data_samples']
        assert len(sample.prompt.phrases) == 1 and len(sample.gt_instances) >= 1
        assert (sample.gt_instances.masks.areas > 0).all()
        several += len(sample.gt_instances) > 1
    assert several > 0
