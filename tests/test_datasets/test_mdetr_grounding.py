"""MDETR json: rows as MDETR wrote them, and real boxes brought into its layout."""

import json

import pytest
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.odvg_records import ODVGError

CAPTION = 'a red kite. boy in cap. is the sky blue?'


def _box(number, row, bbox, spans, **more):
    return dict(id=number, image_id=row, category_id=1, bbox=bbox, area=1.0, iscrowd=0, tokens_positive=spans, **more)


def _row(number, name='1.jpg', caption=CAPTION, height=100, width=200, source='vg'):
    return dict(
        id=number,
        file_name=name,
        height=height,
        width=width,
        caption=caption,
        data_source=source,
        tokens_negative=[[0, len(caption)]],
        original_id=1,
        dataset_name='mixed',
    )


@pytest.fixture
def load(tmp_path):
    def build(images, annotations, pipeline=(), **settings):
        content = dict(info={}, images=images, annotations=annotations, categories=[])
        (tmp_path / 'mixed.json').write_text(json.dumps(content))
        return DATASETS.build(
            dict(
                type='MDETRGroundingDataset',
                data_root=str(tmp_path),
                ann_file='mixed.json',
                pipeline=list(pipeline),
                **settings,
            )
        )

    return build


def test_boxes_of_equal_spans_are_one_phrase_and_a_box_may_own_several_spans(load):
    # boxes of a row do not stand together in the file
    annotations = [
        _box(1, 7, [10, 10, 20, 30], [[0, 10]]),
        _box(2, 8, [0, 0, 5, 5], [[12, 15]]),
        _box(3, 7, [50, 10, 20, 30], [[0, 10]]),
        _box(4, 7, [1, 2, 3, 4], [[12, 15], [19, 22]]),
    ]
    sample = load([_row(7), _row(8)], annotations)[0]
    assert sample['text'] == CAPTION and sample['custom_entities'] is False
    assert sample['tokens_positive'] == [[[0, 10]], [[12, 15], [19, 22]]]
    assert [(i['bbox'], i['bbox_label']) for i in sample['instances']] == [
        ([10, 10, 30, 40], 0),
        ([50, 10, 70, 40], 0),
        ([1, 2, 4, 6], 1),
    ]
    assert sample['img_id'] == 7


def test_sizes_may_be_text_as_in_the_flickr_files(load):
    sample = load([_row(1, height='100', width='200')], [_box(1, 1, [190, 90, 50, 50], [[0, 10]])])[0]
    assert (sample['height'], sample['width']) == (100, 200)
    assert sample['instances'][0]['bbox'] == [190, 90, 200, 100]  # clipped


def test_images_lie_in_the_folder_of_their_source(load, tmp_path):
    rows = [_row(1, 'a.jpg', source='coco'), _row(2, 'b.jpg', source='vg'), _row(3, 'c.jpg', source='else')]
    dataset = load(rows, [], data_prefix=dict(img=''), image_folders={'coco': 'coco/train2014', '*': 'gqa/images'})
    assert [sample['img_path'].removeprefix(str(tmp_path)).lstrip('/') for sample in dataset] == [
        'coco/train2014/a.jpg',
        'gqa/images/b.jpg',
        'gqa/images/c.jpg',
    ]
    with pytest.raises(ValueError, match=r"mixed\.json: row 2: \"data_source\" is 'vg'.*\['coco'\]"):
        load(rows, [], image_folders={'coco': 'coco/train2014'})


def test_rows_without_boxes_can_be_left_out(load):
    rows, boxes = [_row(1), _row(2)], [_box(1, 2, [1, 1, 5, 5], [[0, 10]])]
    assert len(load(rows, boxes)) == 2
    assert [s['img_id'] for s in load(rows, boxes, filter_cfg=dict(filter_empty_gt=True))] == [2]


def test_a_prompt_is_built_from_it(load):
    boxes = [_box(1, 1, [1, 1, 50, 50], [[12, 15]]), _box(2, 1, [60, 1, 50, 50], [[0, 10]])]
    sample = load([_row(1)], boxes)[0]
    sample['gt_bboxes_labels'] = [i['bbox_label'] for i in sample['instances']]
    from glipv2_mmdet.datasets import BuildPrompt

    built = BuildPrompt()(sample)
    assert built['prompt'].names == ('boy', 'a red kite')
    assert built['gt_bboxes_labels'].tolist() == [0, 1]


@pytest.mark.parametrize(
    ('box', 'error', 'text'),
    [
        (_box(1, 1, [1, 1, 5, 5], [[30, 99]]), ODVGError, r'mixed\.json:row 1: span \[30, 99\]'),
        (
            {k: v for k, v in _box(1, 1, [1, 1, 5, 5], [[0, 2]]).items() if k != 'tokens_positive'},
            ValueError,
            r"mixed\.json: row 1 or one of its boxes: no field 'tokens_positive'",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_named(load, box, error, text):
    with pytest.raises(error, match=text):
        load([_row(1)], [box])


def test_an_empty_file_is_an_error(load):
    with pytest.raises(ODVGError, match='"images" is empty'):
        load([], [])


@pytest.mark.real_data
def test_real_referring_expressions_keep_their_boxes(load, shared_dir):
    """RefCOCO's photos in MDETR's layout, one row per expression, the whole expression as the span."""
    refs = json.loads((shared_dir / 'data/refcoco_mini/refs_with_images.json').read_text())
    refs = refs['refs'] if isinstance(refs, dict) else refs
    rows, boxes = [], []
    for ref in refs:
        for sentence in ref['sentences']:
            caption = sentence if isinstance(sentence, str) else sentence['sent']
            number = len(rows)
            rows.append(_row(number, ref['file_name'], caption, str(ref['height']), str(ref['width']), 'coco'))
            boxes.append(_box(number, number, ref['bbox'], [[0, len(caption)]]))
    dataset = load(rows, boxes, image_folders={'coco': 'train2014'})
    assert len(dataset) == len(rows) == 18
    for sample, row, box in zip(dataset, rows, boxes, strict=True):
        x, y, width, height = box['bbox']
        assert sample['text'] == row['caption']
        assert sample['instances'][0]['bbox'] == pytest.approx([x, y, x + width, y + height], abs=0.02)
