"""What every reader asks of a file: json of any encoding or an error, and numbers that are numbers."""

from __future__ import annotations

import json
import math
import time

import pytest

from glipv2_mmdet.datasets import (
    CocoCaption,
    Flickr30kEntities,
    GroundedODVGDataset,
    PhraseCutDataset,
    ReferringDataset,
    VQADataset,
)
from glipv2_mmdet.datasets.conversion import coco_records, iterate_array
from glipv2_mmdet.datasets.record_checks import is_box, is_number, is_size, is_span, read_json, reading
from glipv2_mmdet.datasets.vqa_records import VQAError, grounding_of


class BrokenError(ValueError):
    """For these tests."""


BrokenError.__module__ = 'glipv2_mmdet.tests'


@pytest.mark.parametrize('content', [b'', b'[1', b'[' * 100_000, b'1' * 6000, b'\xff\xfe\x00', b'\x89PNG'])
def test_what_is_no_json_is_named_with_its_file(tmp_path, content):
    file = tmp_path / 'a.json'
    file.write_bytes(content)
    with pytest.raises(BrokenError, match=r'a\.json: not json .*Fetch it again'):
        read_json(str(file), BrokenError, 'Fetch it again.')


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_json_of_windows_is_read(tmp_path, encoding):
    file = tmp_path / 'a.json'
    file.write_text('{"a": "é"}', encoding=encoding)
    assert read_json(str(file), BrokenError, '') == {'a': 'é'}


@pytest.mark.parametrize(
    'wrong',
    [lambda: {}['caption'], lambda: None['a'], lambda: [].a, lambda: [][0], lambda: int('x'), lambda: float(10**400)],
)
def test_what_a_wrong_record_raises_becomes_the_readers_error(wrong):
    with pytest.raises(BrokenError, match=r'file, row 3: .*Repair it'):
        with reading('file, row 3', BrokenError, 'Repair it.'):
            wrong()


def test_errors_of_the_package_stay_as_they_are():
    with pytest.raises(BrokenError, match=r'^mine$'), reading('file', ValueError, 'Repair it.'):
        raise BrokenError('mine')


def test_numbers_boxes_sizes_and_spans():
    assert (
        is_number(3)
        and is_number(2.5, least=2)
        and not any(map(is_number, (True, None, '1', math.nan, math.inf, 10**400)))
    )
    assert is_box([0, 1, 2.5, 3])
    assert not any(map(is_box, ([0, 1, 2], [0, 1, 2, math.nan], '0123', None, [0, 1, 2, [3]])))
    assert is_size(1) and is_size(2.0) and not any(map(is_size, (0, 1.5, '1', math.nan, True)))
    assert is_span([0, 5], 5) and not any(is_span(span, 5) for span in ([0, 6], [3, 3], [0, 2.0], [True, 2], 'ab', [0]))


@pytest.mark.parametrize(
    'dataset, settings',
    [
        (GroundedODVGDataset, {}),
        (ReferringDataset, {}),
        (Flickr30kEntities, {}),
        (CocoCaption, {}),
        (PhraseCutDataset, dict(image_info_file='b.json')),
        (VQADataset, dict(question_file='a.json', image_template='{image_id}.jpg')),
    ],
)
def test_a_misspelled_filter_or_prefix_is_an_error_before_the_file_is_read(dataset, settings):
    for given in (dict(filter_cfg=dict(filter_empty=True)), dict(data_prefix=dict(image='photos'))):
        with pytest.raises(ValueError, match=rf'{next(iter(given))} of {dataset.__name__} has no setting "'):
            dataset(ann_file='a.json', pipeline=[], **settings, **given)


def test_lists_in_lists_are_refused_before_they_fill_the_memory(tmp_path):
    file = tmp_path / 'a.json'
    file.write_bytes(b'{"images": ' + b'[' * 200_000)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r'a\.json: broken json .*lists in lists'):
        list(iterate_array(file, 'images'))
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize('box', [[1, 2, 3], [1, 2, math.nan, 4], None, 'box'])
def test_a_coco_box_that_is_none_is_named(tmp_path, box):
    file = tmp_path / 'coco.json'
    file.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='a.jpg', height=4, width=6)],
                categories=[dict(id=1, name='cat')],
                annotations=[dict(image_id=1, category_id=1, bbox=box)],
            )
        )
    )
    with pytest.raises(ValueError, match=r'coco\.json: (image 1|.*broken json)'):
        list(coco_records(file))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(bboxes=[[0, 0, math.nan, 5]]), 'box .*finite'),
        (dict(tokens_positive=[5]), 'spans 5'),
        (dict(tokens_positive=None), 'lists under'),
        (dict(caption=5), 'texts under'),
        (dict(bboxes=[None]), 'box None'),
    ],
)
def test_grounding_that_cannot_be_used_is_named(change, message):
    record = dict(question_id=1, text='a cat', caption='a cat yes', tokens_positive=[[[0, 5]]], bboxes=[[0, 0, 5, 5]])
    with pytest.raises(VQAError, match=f'a.jsonl:3: .*{message}'):
        grounding_of(record | change, 'a.jsonl:3')
