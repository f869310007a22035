"""ODVG jsonl: what a line becomes, and what is said about a line that cannot be used."""

import json
import re

import pytest
from mmdet.registry import DATASETS
from mmengine.logging import MMLogger

from glipv2_mmdet.datasets.odvg import GroundedODVGDataset, ODVGError

NAMES = {'0': 'cup', '1': 'traffic light'}
CAPTION = 'a red kite. two boys in a red cap'


def _detection(*instances, **extra):
    return {
        'filename': 'a.jpg',
        'height': 100,
        'width': 200,
        **extra,
        'detection': {'instances': [{'bbox': box, 'label': label} for box, label in instances]},
    }


def _grounding(*regions, caption=CAPTION):
    return {
        'filename': 'b.jpg',
        'height': 100,
        'width': 200,
        'grounding': {'caption': caption, 'regions': list(regions)},
    }


@pytest.fixture
def load(tmp_path):
    """Builds the data set from records (or raw lines) and a label map."""

    def build(*records, label_map=NAMES, **kwargs):
        lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
        (tmp_path / 'records.jsonl').write_text('\n'.join(lines) + '\n')
        if label_map is not None:
            (tmp_path / 'names.json').write_text(label_map if isinstance(label_map, str) else json.dumps(label_map))
            kwargs['label_map_file'] = 'names.json'
        return GroundedODVGDataset(
            data_root=str(tmp_path),
            ann_file='records.jsonl',
            data_prefix={'img': 'images'},
            pipeline=[],
            **kwargs,
        )

    return build


def test_it_is_found_by_its_registered_name():
    assert DATASETS.get('GroundedODVGDataset') is GroundedODVGDataset


def test_detection_and_grounding_lines_share_a_file(load, tmp_path):
    dataset = load(
        _detection(([1, 2, 50, 60], 1), image_id=77),
        _grounding({'bbox': [0, 0, 9, 9], 'phrase': 'a red kite', 'tokens_positive': [[0, 10]]}),
    )
    detection, grounding = dataset[0], dataset[1]
    assert detection['text'] == ('cup', 'traffic light')
    assert detection['custom_entities'] is True
    assert detection['img_id'] == 77
    assert detection['img_path'] == str(tmp_path / 'images/a.jpg')
    assert (detection['height'], detection['width']) == (100, 200)
    assert detection['instances'] == [{'bbox': [1, 2, 50, 60], 'bbox_label': 1, 'ignore_flag': 0}]
    assert 'tokens_positive' not in detection
    assert grounding['text'] == CAPTION
    assert grounding['tokens_positive'] == [[[0, 10]]]
    assert grounding['custom_entities'] is False
    assert grounding['img_id'] == 1  # line number from 0 when the record has no id


def test_regions_may_have_several_boxes_and_spans_and_masks(load):
    regions = [
        {
            'bbox': [[5, 9, 40, 80], [60, 9, 90, 82]],
            'tokens_positive': [[12, 20]],
            'mask': [[[5, 9, 40, 9, 40, 80]], {'size': [100, 200], 'counts': 'x'}],
        },
        {'bbox': [1, 1, 8, 8], 'tokens_positive': [[2, 5], [26, 29]]},
        {'bbox': [100, 1, 108, 8], 'tokens_positive': [[12, 20]]},
    ]  # same words: same phrase
    sample = load(_grounding(*regions), label_map=None)[0]
    assert sample['tokens_positive'] == [[[12, 20]], [[2, 5], [26, 29]]]
    assert [i['bbox_label'] for i in sample['instances']] == [0, 0, 1, 0]
    assert sample['instances'][0]['mask'] == [[5, 9, 40, 9, 40, 80]]
    assert sample['instances'][1]['mask']['counts'] == 'x'
    assert 'mask' not in sample['instances'][2]


def test_spans_may_come_from_a_phrase_that_occurs_once_or_be_the_whole_caption(load):
    sample = load(
        _grounding({'bbox': [1, 1, 8, 8], 'phrase': 'two boys'}, {'bbox': [1, 1, 8, 8], 'tokens_positive': -1}),
        label_map=None,
    )[0]
    assert sample['tokens_positive'] == [[[12, 20]], [[0, len(CAPTION)]]]


@pytest.mark.parametrize(
    ('phrase', 'caption', 'start'),
    [
        ('car', 'a scarf in a car', 13),
        ('two', 'twofold, two', 9),
        ('汽车', '一辆红色汽车停着', 4),
        ('(car)', 'scar, (car)', 6),
    ],
)
def test_a_phrase_is_found_as_whole_words(load, phrase, caption, start):
    record = _grounding({'bbox': [1, 1, 8, 8], 'phrase': phrase})
    record['grounding']['caption'] = caption
    assert load(record, label_map=None)[0]['tokens_positive'] == [[[start, start + len(phrase)]]]


def test_several_class_lists_are_chosen_per_record(load):
    both = {'things': {'0': 'cup'}, 'colours': {'0': 'red', '1': 'blue'}}
    dataset = load(
        _detection(([0, 0, 5, 5], 1), vocabulary='colours'),
        _detection(([0, 0, 5, 5], 0), vocabulary='things'),
        label_map=both,
    )
    assert [sample['text'] for sample in dataset] == [('red', 'blue'), ('cup',)]


def test_pictures_without_boxes_stay_unless_filtered(load):
    records = (_detection(), _grounding(), _detection(([0, 0, 5, 5], 0)))
    assert [len(sample['instances']) for sample in load(*records)] == [0, 0, 1]
    assert len(load(*records, filter_cfg={'filter_empty_gt': True})) == 1
    assert len(load(*records, filter_cfg={'filter_empty_gt': True}, test_mode=True)) == 3


def test_boxes_are_clipped_or_dropped_and_counted_in_one_log_line(load, monkeypatch):
    logged = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', logged.append)
    dataset = load(
        _detection(([-5, 0, 50, 120], 0), ([300, 0, 400, 50], 0), ([5, 5, 5, 50], 1), ([0, 0, 200, 100], 1)),
        _detection(([201, 0, 202, 5], 0)),
    )
    assert [i['bbox'] for i in dataset[0]['instances']] == [[0, 0, 50, 100], [0, 0, 200, 100]]
    assert len(logged) == 1
    assert (
        '2 records (2 detection, 0 grounding), 2 boxes, 1 clipped to the picture, 3 dropped' in logged[0]
        and '1 pictures without boxes' in logged[0]
    )


GOOD_BOX = [1, 1, 8, 8]
NAN_BOX = (
    '{"filename": "a.jpg", "height": 9, "width": 9, "detection": {"instances": [{"bbox": [1, NaN, 2, 2], "label": 0}]}}'
)


@pytest.mark.parametrize(
    ('record', 'found', 'fix'),
    [
        ('{"filename": "a.jpg", "hei', 'broken json', 'unfinished download'),
        ('[1, 2]', "record is '[1, 2]'", 'json object'),
        (
            {'filename': 'a.jpg', 'height': 9, 'detection': {'instances': []}},
            'has no "width"',
            'Add the field',
        ),
        (
            {'filename': 'a.jpg', 'height': 9, 'width': 9},
            "keys ['filename', 'height', 'width']",
            'add the missing part',
        ),
        ({**_detection(), 'grounding': {}}, '"detection" and "grounding"', 'Split the record'),
        ({**_detection(), 'height': 0}, '"height" is 0', 'Read it from the picture'),
        ({**_detection(), 'width': '9'}, '"width" of the record is \'9\'', 'Correct the value'),
        (_detection((GOOD_BOX, 2)), 'label 2; expected 0 to 1', 'Use the label map'),
        (_detection((GOOD_BOX, -1)), 'label -1; expected 0 to 1', 'Use the label map'),
        (_detection((GOOD_BOX, '1')), '"label" of the instance is \'1\'', 'type int'),
        (_detection(([1, 2, 3], 0)), 'box [1, 2, 3]; expected 4 finite numbers', 'Correct or delete'),
        (NAN_BOX, 'box [1, nan, 2, 2]; expected 4 finite numbers', 'Correct or delete'),
        (_grounding(caption=' . '), "caption ' . '", 'Delete the record'),
        (
            _grounding({'bbox': GOOD_BOX, 'tokens_positive': [[30, 34]]}),
            'span [30, 34]; expected 0 <= start < end <= 33',
            'Recompute the span',
        ),
        (_grounding({'bbox': GOOD_BOX, 'tokens_positive': [[5, 5]]}), 'span [5, 5]', 'Recompute the span'),
        (_grounding({'bbox': GOOD_BOX, 'tokens_positive': [4, 9]}), 'span 4', 'Recompute the span'),
        (
            _grounding({'bbox': GOOD_BOX, 'tokens_positive': []}),
            '"tokens_positive" is []',
            'Write [[start, end]]',
        ),
        (
            _grounding({'bbox': GOOD_BOX, 'phrase': 'red'}),
            "phrase 'red' occurs 2 times",
            'Add "tokens_positive"',
        ),
        (_grounding({'tokens_positive': [[0, 4]]}), 'region has no "bbox"', 'Add the field'),
        (
            _grounding({'bbox': [GOOD_BOX, GOOD_BOX], 'tokens_positive': [[0, 4]], 'mask': [[]]}),
            '2 boxes but 1 masks',
            'in the order of its boxes',
        ),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_value_and_fix(load, record, found, fix):
    with pytest.raises(ODVGError) as caught:
        load(_detection((GOOD_BOX, 0)), record)
    text = str(caught.value)
    assert re.search(r'records\.jsonl:2: ', text), text
    assert found in text and fix in text, text


@pytest.mark.parametrize(
    ('label_map', 'found'),
    [
        ({'0': 'cup', '2': 'kite'}, 'ids from 0 without holes'),
        ({'1': 'cup'}, 'ids from 0 without holes'),
        (['cup'], 'expected {"0": "name"'),
        ({}, 'expected {"0": "name"'),
        ('{"0": ', 'names.json: not json'),
        ({'things': {'0': 'cup'}}, '"vocabulary" is None; expected one of [\'things\']'),
        (None, 'a detection record but no label map'),
    ],
)
def test_a_label_map_that_does_not_fit_is_named(load, label_map, found):
    with pytest.raises(ODVGError) as caught:
        load(_detection((GOOD_BOX, 0)), label_map=label_map)
    assert found in str(caught.value)


def test_an_empty_file_is_an_error(load):
    with pytest.raises(ODVGError, match=r'no records.*Check the path'):
        load('')


def test_the_rendered_data_set_loads_with_everything_it_holds(shapes_dir):
    dataset = GroundedODVGDataset(
        data_root=str(shapes_dir),
        ann_file='annotations/train_odvg.jsonl',
        pipeline=[],
        label_map_file='annotations/label_map.json',
        data_prefix={'img': 'images/train/'},
    )
    assert {len(s['text']) for s in dataset if s['custom_entities']} == {30, 6}
    for sample in dataset:
        assert len(sample['instances']) >= 1
        assert all('mask' in instance for instance in sample['instances'])
