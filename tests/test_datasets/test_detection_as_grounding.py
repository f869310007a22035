"""Detection data sets as prompts."""

import json

import numpy as np
import pytest
from mmdet.datasets import Objects365V2Dataset
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.detection_as_grounding import OBJECTS365_V2_RENAMES, DetectionAsGrounding
from glipv2_mmdet.text import prompt_from_classes


@pytest.fixture
def coco(tmp_path):
    boxes = [
        dict(id=1, image_id=5, category_id=3, bbox=[1, 2, 30, 40], area=1200, iscrowd=0),
        dict(id=2, image_id=5, category_id=9, bbox=[5, 5, 50, 60], area=3000, iscrowd=1),
    ]
    (tmp_path / 'a.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=5, file_name='a.jpg', height=100, width=200)],
                annotations=boxes,
                categories=[dict(id=3, name='Bakset'), dict(id=9, name='Cabinet/shelf ')],
            )
        )
    )
    return dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='a.json',
        data_prefix=dict(img='images'),
        metainfo=dict(classes=('Bakset', 'Cabinet/shelf ')),
    )


def test_samples_carry_names_and_no_crowd_boxes(coco):
    dataset = DATASETS.build(dict(type='DetectionAsGrounding', dataset=coco, renames={'Bakset': 'Basket'}))
    assert len(dataset) == 1
    sample = dataset[0]
    assert sample['text'] == ('Basket', 'Cabinet/shelf')
    assert sample['custom_entities'] is True
    assert [(i['bbox'], i['bbox_label']) for i in sample['instances']] == [([1, 2, 31, 42], 0)]


def test_names_are_not_stored_in_every_record(coco):
    dataset = DetectionAsGrounding(coco)
    assert b'Bakset' not in bytes(dataset.dataset.data_bytes)


def test_the_pipeline_runs_on_it(coco):
    dataset = DetectionAsGrounding(coco, [dict(type='LoadAnnotations', with_bbox=True), dict(type='BuildPrompt')])
    np.random.seed(0)
    sample = dataset[0]
    assert sample['prompt'].names[sample['gt_bboxes_labels'][0]] == 'Bakset'


@pytest.mark.parametrize(
    ('renames', 'text'),
    [
        ('objects365', "renames is 'objects365'; expected one of .*objects365_v2"),
        ({'Basket': 'x'}, "Renamed class 'Basket' is not among the 2 classes"),
        ({'Bakset': 'cabinet/Shelf'}, 'Two classes are called'),
    ],
)
def test_renames_that_do_not_fit_are_named(coco, renames, text):
    with pytest.raises(ValueError, match=text):
        DetectionAsGrounding(coco, renames=renames)


def test_every_objects365_correction_meets_a_published_name():
    classes = Objects365V2Dataset.METAINFO['classes']
    assert set(OBJECTS365_V2_RENAMES) <= set(classes) and len(OBJECTS365_V2_RENAMES) == 14
    prompt_from_classes([OBJECTS365_V2_RENAMES.get(name, name) for name in classes])  # all different, all words
