"""Class names and categories join by name, in mmdet's own COCO data set and metric too."""

import copy
import json

import pytest
import torch
from mmdet.registry import DATASETS, METRICS

from glipv2_mmdet.datasets.category_names import CategoryNameError, join_names
from tests.log_lines import log_lines

#: Four categories whose ids do not rise with the names, and one box of each.
NAMES = ('red circle', 'red square', 'blue square', 'green cross')
BOXES = ([10, 10, 20, 20], [40, 10, 20, 20], [10, 40, 20, 20], [40, 40, 20, 20])


def content(order=(0, 1, 2, 3)) -> dict:
    return dict(
        images=[dict(id=1, file_name='a.jpg', width=100, height=80)],
        annotations=[
            dict(id=k + 1, image_id=1, category_id=k + 3, bbox=box, area=400, iscrowd=0) for k, box in enumerate(BOXES)
        ],
        categories=[dict(id=k + 3, name=NAMES[k]) for k in order],
    )


def write(folder, content) -> str:
    (folder / 'a.json').write_text(json.dumps(content))
    return str(folder / 'a.json')


def build(ann_file, classes, **more):
    return DATASETS.build(
        dict(
            type='CocoDataset',
            ann_file=ann_file,
            data_prefix=dict(img=''),
            metainfo=dict(classes=classes),
            return_classes=True,
            **more,
        )
    )


def evaluate(ann_file, classes, missed=(), **more) -> dict:
    """Figures of predictions that are right by name, but for those of ``missed``."""
    metric = METRICS.build(dict(type='CocoMetric', ann_file=ann_file, metric='bbox', **more))
    metric.dataset_meta = dict(classes=classes)
    found = [k for k in range(4) if NAMES[k] in classes and NAMES[k] not in missed]
    boxes = torch.tensor([BOXES[k] for k in found], dtype=torch.float64)
    boxes[:, 2:] += boxes[:, :2]
    labels = torch.tensor([classes.index(NAMES[k]) for k in found])
    sample = dict(
        img_id=1,
        ori_shape=(80, 100),
        pred_instances=dict(bboxes=boxes, scores=torch.ones(len(found)), labels=labels),
    )
    metric.process({}, [sample])
    return metric.evaluate(1)


@pytest.mark.parametrize('order', [(0, 1, 2, 3), (2, 0, 3, 1)])
@pytest.mark.parametrize('classes', [NAMES, NAMES[::-1], ('blurple star', *NAMES), (NAMES[2], NAMES[0])])
def test_labels_are_places_in_the_class_names_whatever_the_order_of_the_file(tmp_path, order, classes):
    ann_file = write(tmp_path, content(order))
    record = build(ann_file, classes).get_data_info(0)
    found = {record['text'][instance['bbox_label']]: instance['bbox'] for instance in record['instances']}
    assert found == {
        name: [x, y, x + w, y + h] for name, (x, y, w, h) in zip(NAMES, BOXES, strict=True) if name in classes
    }
    assert evaluate(ann_file, classes)['coco/bbox_mAP'] == 1.0


def test_the_table_of_classes_has_the_figures_of_its_names(tmp_path):
    figures = evaluate(write(tmp_path, content()), NAMES[::-1], missed=('red square',), classwise=True)
    assert {name: figures[f'coco/{name}_precision'] for name in NAMES} == {
        'red circle': 1.0,
        'red square': 0.0,
        'blue square': 1.0,
        'green cross': 1.0,
    }
    assert figures['coco/bbox_mAP'] == 0.75


def test_a_detection_of_a_class_that_the_file_lacks_costs_nothing(tmp_path):
    classes = ('blurple star', *NAMES)
    metric = METRICS.build(dict(type='CocoMetric', ann_file=write(tmp_path, content()), classwise=True))
    metric.dataset_meta = dict(classes=classes)
    boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (BOXES[0], *BOXES)], dtype=torch.float64)
    labels = torch.arange(5)
    found = dict(bboxes=boxes, scores=torch.ones(5), labels=labels)
    metric.process({}, [dict(img_id=1, ori_shape=(80, 100), pred_instances=found)])
    assert metric.evaluate(1)['coco/bbox_mAP'] == 1.0


def test_objects365_and_nested_data_sets_join_by_name_too(tmp_path):
    ann_file = write(tmp_path, content((3, 1, 0, 2)))
    inner = dict(
        type='Objects365V1Dataset', ann_file=ann_file, data_prefix=dict(img=''), metainfo=dict(classes=NAMES[::-1])
    )
    for dataset in (
        DATASETS.build(dict(type='DetectionAsGrounding', dataset=inner)),
        DATASETS.build(dict(type='FewShotDataset', shots=1, dataset=dict(inner, return_classes=True))),
    ):
        record = dataset.get_data_info(0)
        assert [record['text'][instance['bbox_label']] for instance in record['instances']] == list(NAMES)


def test_names_without_a_category_are_told_with_the_closest_ones(tmp_path):
    with log_lines() as lines:
        build(write(tmp_path, content()), ('red circles', 'blurple star', *NAMES[1:]))
    (missing,) = [line for line in lines if 'no category of the file' in line]
    assert '2 of 5 class names are no category of the file' in missing
    assert '"red circles" (closest: "red circle")' in missing
    (left_out,) = [line for line in lines if 'are left out' in line]
    assert '1 boxes of 1 categories are left out' in left_out and '"red circle"' in left_out


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (
            ('Red Circle', 'red square'),
            r'1 class names are spelled otherwise.*"Red Circle" \(the file has "red circle"',
        ),
        (('redcircle', 'bluesquare'), r'2 class names are spelled otherwise.*"red circle".*--cfg-options'),
        (
            ('cat', 'dog'),
            r'none of the 2 class names is a category.*Given: cat, dog\. Categories: red circle, red squa',
        ),
        ('red circle', r"are the text 'red circle'; expected a list.*classes=\('red circle',\)"),
        (('red circle', 'red circle '), '"red circle" is given twice'),
    ],
)
def test_names_that_do_not_fit_are_refused_with_the_names_of_the_file(tmp_path, classes, message):
    ann_file = write(tmp_path, content())
    metric = METRICS.build(dict(type='CocoMetric', ann_file=ann_file))
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, [dict(img_id=1, ori_shape=(80, 100), pred_instances=_nothing())])
    with pytest.raises(CategoryNameError, match=message):
        metric.evaluate(1)
    with pytest.raises(CategoryNameError, match=message):
        join_names(classes, {k + 3: name for k, name in enumerate(NAMES)}, 'a.json')


def test_equal_categories_are_refused_when_they_are_asked_for(tmp_path):
    twice = content()
    twice['categories'][1]['name'] = 'red circle'
    ann_file = write(tmp_path, twice)
    with pytest.raises(CategoryNameError, match=r'categories \[3, 4\] are all called "red circle"'):
        build(ann_file, NAMES[:1])
    assert len(build(ann_file, NAMES[2:]).get_data_info(0)['instances']) == 2


def test_blanks_around_names_do_not_count(tmp_path):
    blanks = copy.deepcopy(content())
    blanks['categories'][0]['name'] = 'red circle '
    record = build(write(tmp_path, blanks), NAMES).get_data_info(0)
    assert [instance['bbox_label'] for instance in record['instances']] == [0, 1, 2, 3]


def _nothing() -> dict:
    return dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long))


def test_lvis_labels_follow_the_class_names(tmp_path):
    lvis = content((2, 0, 3, 1))
    lvis['images'][0].update(coco_url='http://images.cocodataset.org/val2017/000000000139.jpg')
    del lvis['images'][0]['file_name']
    ann_file = write(tmp_path, lvis)
    dataset = DATASETS.build(
        dict(
            type='GroundedLVISDataset',
            ann_file=ann_file,
            data_prefix=dict(img=''),
            metainfo=dict(classes=NAMES[::-1]),
            return_classes=True,
        )
    )
    record = dataset.get_data_info(0)
    assert record['img_path'] == 'val2017/000000000139.jpg'
    assert [record['text'][instance['bbox_label']] for instance in record['instances']] == list(NAMES)
