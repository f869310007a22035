"""Image-text pairs in GLIP's TSVs: labels, rows to use, the yaml that names the files."""

import base64
import json

import cv2
import numpy as np
import pytest

from glipv2_mmdet.datasets import TSVPairs
from glipv2_mmdet.datasets.odvg_records import ODVGError

CAPTION = 'a dog runs on wet sand'


def jpeg(value=0):
    return cv2.imencode('.jpg', np.full((60, 80, 3), value, dtype=np.uint8))[1].tobytes()


FLAT = dict(
    img_h=60,
    img_w=80,
    caption=CAPTION,
    tokens_positive=[[[0, 5]], [[14, 22]]],
    bboxes=[[40.2, 10.0, 70.9, 40.1], [0.0, 38.5, 79.0, 59.0]],
    scores=[0.91, 0.66],
)
NESTED = dict(
    img_h=60,
    img_w=80,
    caption=CAPTION,
    tokens_positive=[[[0, 5]], [[14, 22]]],
    bboxes=[[[40, 10, 70, 40], [1, 1, 9, 9]], [[0, 38, 79, 59]]],
    scores=[[0.9, 0.5], [0.6]],
)


@pytest.fixture
def tsv(tmp_path):
    def build(labels, keys=None, **settings):
        keys = keys or [f'k{number}' for number in range(len(labels))]
        (tmp_path / 'image.tsv').write_text(
            ''.join(f'{key}\t{base64.b64encode(jpeg(number)).decode()}\n' for number, key in enumerate(keys))
        )
        (tmp_path / 'label.tsv').write_text(
            ''.join(f'k{number}\t{json.dumps(label)}\n' for number, label in enumerate(labels))
        )
        return TSVPairs('image.tsv', 'label.tsv', str(tmp_path), **settings)

    return build


def test_flat_and_nested_labels_are_read_and_weak_boxes_left_out(tsv):
    flat, nested = tsv([FLAT, [NESTED]])
    assert [(i['bbox'], i['bbox_label']) for i in flat['instances']] == [
        ([40.2, 10.0, 70.9, 40.1], 0),
        ([0.0, 38.5, 79.0, 59.0], 1),
    ]
    assert [(i['bbox'], i['bbox_label']) for i in nested['instances']] == [([40, 10, 70, 40], 0), ([0, 38, 79, 59], 1)]
    assert flat['text'] == CAPTION and flat['tokens_positive'] == [[[0, 5]], [[14, 22]]]
    assert nested['img_bytes'] == jpeg(1) and nested['img_path'] == 'k1'


def test_a_row_without_boxes_gives_way_to_the_next(tsv):
    dataset = tsv([FLAT, NESTED], min_score=0.9)
    assert dataset[1]['img_path'] == 'k0' and len(dataset[0]['instances']) == 1
    with pytest.raises(ODVGError, match=r'no row has a box with a score above 0\.95'):
        tsv([FLAT, NESTED], min_score=0.95)[0]


def test_files_that_do_not_belong_together_are_refused(tsv):
    with pytest.raises(ValueError, match=r'image\.tsv has 1 rows, .*label\.tsv 2'):
        tsv([FLAT, FLAT], keys=['k0'])
    with pytest.raises(ValueError, match=r"image\.tsv:2: key 'other', the label has 'k1'"):
        tsv([FLAT, FLAT], keys=['k0', 'other'])[1]
    with pytest.raises(ODVGError, match=r"label\.tsv:1: label .*'bboxes'"):
        tsv([{'caption': 'a dog', 'tokens_positive': []}])[0]


def test_the_image_of_a_pair_is_decoded_from_its_bytes(tsv):
    dataset = tsv(
        [FLAT],
        pipeline=[
            dict(type='LoadStreamedImage'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='CleanBoxes'),
            dict(type='BuildPrompt'),
        ],
    )
    sample = dataset[0]
    assert sample['img'].shape == (60, 80, 3) and sample['ori_shape'] == (60, 80)
    assert sample['prompt'].names == ('a dog', 'wet sand') and 'img_bytes' not in sample


def test_samplers_are_told_the_size_without_the_image(tsv):
    info = tsv([FLAT]).get_data_info(0)
    assert (info['width'], info['height']) == (80, 60) and 'img_bytes' not in info


def test_a_line_list_chooses_orders_and_repeats_rows(tsv, tmp_path):
    (tmp_path / 'a.linelist').write_text('2\n0\n2\n')
    dataset = tsv([FLAT, NESTED, FLAT], line_list='a.linelist')
    assert [sample['img_path'] for sample in dataset] == ['k2', 'k0', 'k2']
    assert dataset[0]['img_bytes'] == jpeg(2)


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ('0\n3\n', r'row numbers are 0 to 3; expected one per line, 0 to 1'),
        ('-1\n', 'row numbers are -1 to -1'),
        ('0\nx\n', 'Expected one row number per line'),
    ],
)
def test_a_line_list_of_other_files_is_refused(tsv, tmp_path, rows, message):
    (tmp_path / 'a.linelist').write_text(rows)
    with pytest.raises(ValueError, match=rf'a\.linelist: .*{message}'):
        tsv([FLAT, FLAT], line_list='a.linelist')


def test_a_yaml_names_the_files_beside_it(tsv, tmp_path):
    tsv([FLAT, NESTED])  # writes the files
    (tmp_path / 'a.linelist').write_text('1\n')
    (tmp_path / 'a.yaml').write_text('img: image.tsv\nlabel: label.tsv\nhw: hw.tsv\nlinelist: a.linelist\n')
    dataset = TSVPairs(yaml_file='a.yaml', data_root=str(tmp_path))
    assert len(dataset) == 1 and dataset[0]['img_path'] == 'k1'
    (tmp_path / 'a.yaml').write_text('img: image.tsv\nlabel: label.tsv\n')
    assert len(TSVPairs(yaml_file=str(tmp_path / 'a.yaml'))) == 2


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('img: image.tsv\n', r'label None'),
        ('img: [a.tsv, b.tsv]\nlabel: label.tsv\n', r"img is \['a.tsv', 'b.tsv'\]"),
        ('img: [\n', 'broken yaml'),
        ('image.tsv\n', 'img is None'),
    ],
)
def test_a_yaml_without_the_files_is_refused(tmp_path, text, message):
    (tmp_path / 'a.yaml').write_text(text)
    with pytest.raises(ValueError, match=rf'a\.yaml: .*{message}'):
        TSVPairs(yaml_file='a.yaml', data_root=str(tmp_path))


def test_files_are_named_once():
    with pytest.raises(ValueError, match='expected one of them'):
        TSVPairs('image.tsv', yaml_file='a.yaml')
    with pytest.raises(ValueError, match='expected both, or yaml_file'):
        TSVPairs('image.tsv')


def test_captions_are_read_whatever_the_boxes(tsv):
    dataset = tsv([dict(caption='the sea'), [FLAT]])
    assert [dataset.get_caption(k) for k in range(2)] == ['the sea', CAPTION]
    with pytest.raises(ODVGError, match=r'label\.tsv:1: label .* expected one with a caption'):
        tsv([dict(objects=[])]).get_caption(0)
