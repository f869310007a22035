"""COCO files as mmdet's data set and metric read them: fields that tools write otherwise, ids, corners."""

import json

import pytest
import torch
from mmdet.registry import DATASETS, METRICS

from glipv2_mmdet.datasets.coco_files import CheckedCOCO, CocoFileError
from tests.log_lines import log_lines

BOXES = ([10, 10, 20, 20], [40, 10, 30, 30], [10, 45, 25, 30])


def content(**fields) -> dict:
    """Three boxes of one class; ``fields`` are set in all annotations."""
    return dict(
        images=[dict(id=1, file_name='a.jpg', width=100, height=80)],
        annotations=[
            dict(dict(id=k + 1, image_id=1, category_id=1, bbox=box, area=box[2] * box[3], iscrowd=0), **fields)
            for k, box in enumerate(BOXES)
        ],
        categories=[dict(id=1, name='cat')],
    )


def write(folder, content) -> str:
    (folder / 'a.json').write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder / 'a.json')


def instances(ann_file) -> list[dict]:
    dataset = DATASETS.build(
        dict(type='CocoDataset', ann_file=ann_file, data_prefix=dict(img=''), metainfo=dict(classes=('cat',)))
    )
    return dataset.get_data_info(0)['instances']


def figures(ann_file) -> dict:
    """Of detections that are exactly the boxes."""
    metric = METRICS.build(dict(type='CocoMetric', ann_file=ann_file, metric='bbox'))
    metric.dataset_meta = dict(classes=('cat',))
    boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in BOXES], dtype=torch.float64)
    found = dict(bboxes=boxes, scores=torch.tensor([0.9, 0.8, 0.7]), labels=torch.zeros(3, dtype=torch.long))
    metric.process({}, [dict(img_id=1, ori_shape=(80, 100), pred_instances=found)])
    return metric.evaluate(1)


def with_ids(*ids) -> dict:
    changed = content()
    for entry, key in zip(changed['annotations'], ids, strict=True):
        if key is None:
            del entry['id']
        else:
            entry['id'] = key
    return changed


@pytest.mark.parametrize(
    'given',
    [
        content(iscrowd='0'),
        content(iscrowd=False),
        content(iscrowd=None, ignore='0'),
        content(area='400'),
        content(area=None),
        content(area=0),
        content(category_id=1.0, image_id='1'),
        with_ids(0, 1, 2),
        with_ids(3, 3, 3),
        with_ids('a', 'b', None),
    ],
)
def test_what_has_one_meaning_is_read(tmp_path, given):
    ann_file = write(tmp_path, given)
    assert [(row['bbox'], row['ignore_flag']) for row in instances(ann_file)] == [
        ([x, y, x + w, y + h], 0) for x, y, w, h in BOXES
    ]
    assert figures(ann_file)['coco/bbox_mAP'] == 1.0


def test_a_missing_or_empty_area_is_that_of_the_box(tmp_path):
    given = content()
    del given['annotations'][0]['area']
    given['annotations'][1]['area'] = 0
    given['annotations'][2]['area'] = '12.5'
    file = CheckedCOCO(write(tmp_path, given))
    assert [entry['area'] for entry in file.dataset['annotations']] == [400, 900, 12.5]


def test_ids_that_are_right_stay(tmp_path):
    file = CheckedCOCO(write(tmp_path, with_ids(907, 12, 4)))
    assert [entry['id'] for entry in file.dataset['annotations']] == [907, 12, 4]
    file = CheckedCOCO(write(tmp_path, with_ids(907, 0, 4)))
    assert [entry['id'] for entry in file.dataset['annotations']] == [1, 2, 3]


def test_a_byte_order_mark_is_no_part_of_the_json(tmp_path):
    assert len(instances(write(tmp_path, '\ufeff' + json.dumps(content())))) == 3


def images(*sizes) -> dict:
    return dict(content(), images=[dict(id=1, file_name='a.jpg', width=w, height=h) for w, h in sizes])


def corners() -> dict:
    changed = content()
    for entry, box in zip(changed['annotations'], ([60, 50, 90, 75], [55, 45, 80, 70], [70, 10, 99, 40]), strict=True):
        entry['bbox'] = box
    return changed


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (content(iscrowd=1), r'all 3 boxes are crowds \("iscrowd": 1\).*Set "iscrowd" to 0'),
        (content(iscrowd='1'), 'all 3 boxes are crowds'),
        (content(iscrowd='no'), r"annotations\[0\] has \"iscrowd\" 'no'; expected 0 or 1"),
        (content(ignore=2), r'has "ignore" 2; expected 0 or 1'),
        (content(area='large'), r"has \"area\" 'large'; expected a number of pixels"),
        (content(area=float('nan')), 'has "area" nan; expected a number'),
        (content(area=-4), 'has "area" -4; expected a number of pixels, 0 or more'),
        (content(bbox=[1, 2, 3]), r'annotations\[0\]: box \[1, 2, 3\]; expected 4 finite numbers'),
        (content(bbox=None), r'annotations\[0\]: box None'),
        (content(category_id=[1]), r'has "category_id" \[1\]; expected a whole number'),
        (content(image_id=1.5), r'has "image_id" 1\.5; expected a whole number'),
        (images((100, 80), (100, 80)), r'images\[1\] has the id 1 of another image'),
        (images((100, None)), r'images\[0\]: height None, width 100; expected whole numbers of pixels'),
        (
            dict(content(), categories=[dict(id=1, name='cat'), dict(id=1, name='dog')]),
            r'has the id 1 of category "cat"',
        ),
        (dict(content(), annotations={}), '"annotations" is {}; expected a list'),
        ([], 'no list "images"'),
        ('{', 'not json'),
        (corners(), r'look like corners.*3 of 3 leave their image, for example \[60, 50, 90, 75\] in 100 x 80 pixels'),
    ],
)
def test_what_would_be_misread_is_refused_by_data_set_and_metric(tmp_path, given, message):
    ann_file = write(tmp_path, given)
    with pytest.raises(CocoFileError, match=message):
        instances(ann_file)
    with pytest.raises(CocoFileError, match=message):
        METRICS.build(dict(type='CocoMetric', ann_file=ann_file))


def test_annotations_of_unknown_images_and_categories_are_counted(tmp_path):
    given = content()
    given['annotations'][0]['image_id'], given['annotations'][1]['category_id'] = 9, 9
    with log_lines() as lines:
        assert len(instances(write(tmp_path, given))) == 1
    assert [line.split(': ', 1)[1] for line in lines if line.startswith(str(tmp_path))] == [
        '1 of 3 annotations have an image_id that is not in "images", and are left out.',
        '1 of 3 annotations have a category_id that is not in "categories", and are left out.',
    ]


def test_a_file_of_images_alone_is_read(tmp_path):
    given = dict(images=content()['images'], categories=content()['categories'])
    assert instances(write(tmp_path, given)) == []
