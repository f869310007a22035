"""Faults of real exports: sizes, corners, names of files and splits, YAML, flags; each is read right or refused."""

from __future__ import annotations

import json
import os
import time

import pytest
from mmdet.registry import DATASETS
from PIL import Image

from glipv2_mmdet.datasets.coco_files import CocoFileError
from glipv2_mmdet.datasets.own_data import OwnDataError, prepare_own_data
from glipv2_mmdet.datasets.own_data_files import splits_in
from glipv2_mmdet.image_reading import ORIENTATION
from tests.log_lines import log_lines
from tests.test_datasets.test_own_data import BOXES, coco, image, voc_xml, write_roboflow, write_voc, write_yolo


def kept(data, split='train') -> list[list[float]]:
    return [box['bbox'] for box in json.loads(data.ann_files[split].read_text())['annotations']]


def sizes(data, split='train') -> list[tuple[int, int]]:
    return [(image['width'], image['height']) for image in json.loads(data.ann_files[split].read_text())['images']]


def turned_image(path, width=40, height=30) -> None:
    """Upright width x height pixels, stored on its side."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (height, width)).save(path, exif=exif)


def roboflow(folder, train, valid=None):
    return write_roboflow(folder / 'data', dict(train=train, valid=valid or coco()))


def with_fields(**fields) -> dict:
    content = coco()
    content['annotations'] = [dict(entry, **fields) for entry in content['annotations']]
    return content


# ---- sizes


@pytest.mark.parametrize('write', [write_yolo, write_voc])
def test_labels_of_turned_photos_are_those_of_the_upright_image(tmp_path, write):
    folder = tmp_path / 'data'
    folder.mkdir()
    write(folder)
    for file in folder.rglob('*.jpg'):
        turned_image(file)
    data = prepare_own_data(folder, tmp_path / 'out')
    assert kept(data) == [pytest.approx(box, abs=1e-6) for _, box in BOXES] and set(sizes(data)) == {(40, 30)}


def test_exchanged_sizes_are_corrected_where_the_boxes_fit(tmp_path):
    content = coco()
    content['images'][0].update(width=30, height=40)
    data = prepare_own_data(roboflow(tmp_path, content), tmp_path / 'out')
    assert kept(data) == [box for _, box in BOXES] and sizes(data) == [(40, 30)]
    (warning,) = data.warnings
    assert 'width and height of 1 of 1 images are exchanged' in warning


def test_boxes_drawn_before_the_image_was_turned_are_refused(tmp_path):
    content = coco([('cat', [4, 20, 10, 18]), ('dog', [20, 6, 8, 18])])
    content['images'][0].update(width=30, height=40)
    with pytest.raises(OwnDataError, match=r'exchanged, and boxes leave .*40 x 30 pixels, upright\).*EXIF'):
        prepare_own_data(roboflow(tmp_path, content), tmp_path / 'out')


@pytest.mark.parametrize('size', [(80, 60), (10**9, 10**9)])
def test_images_of_another_size_are_refused(tmp_path, size):
    content = coco()
    content['images'][0].update(width=size[0], height=size[1])
    with pytest.raises(OwnDataError, match=r'1 of 1 images have another size than the file says.*40 x 30 in the image'):
        prepare_own_data(roboflow(tmp_path, content), tmp_path / 'out')


def test_the_size_of_a_voc_file_is_compared_too(tmp_path):
    folder = write_voc(tmp_path)
    xml = voc_xml().replace('</annotation>', '<size><width>80</width><height>60</height></size></annotation>')
    (folder / 'Annotations/a.xml').write_text(xml)
    with pytest.raises(OwnDataError, match='80 x 60 in the file, 40 x 30 in the image'):
        prepare_own_data(folder, tmp_path / 'out')


def test_corners_are_recognised(tmp_path):
    boxes = [('cat', [10, 8, 36, 28]), ('dog', [20, 16, 39, 29]), ('cat', [25, 3, 38, 20])]
    with pytest.raises(OwnDataError, match=r'look like corners.*3 of 3 leave their image'):
        prepare_own_data(roboflow(tmp_path, coco(boxes)), tmp_path / 'out')


def test_the_data_set_of_configs_compares_sizes(tmp_path):
    image(tmp_path / 'a.jpg')
    content = coco()
    dataset = dict(
        type='GroundedCocoDataset',
        ann_file=str(tmp_path / 'a.json'),
        data_prefix=dict(img=f'{tmp_path}/'),
        metainfo=dict(classes=('dog', 'cat')),
    )
    content['images'][0].update(width=30, height=40)
    (tmp_path / 'a.json').write_text(json.dumps(content))
    with log_lines() as lines:
        record = DATASETS.build(dataset).get_data_info(0)
    assert (record['width'], record['height']) == (40, 30) and any('are exchanged' in line for line in lines)
    assert [instance['bbox_label'] for instance in record['instances']] == [1, 0]
    content['images'][0].update(width=20, height=15)
    (tmp_path / 'a.json').write_text(json.dumps(content))
    with pytest.raises(CocoFileError, match='another size than the file says'):
        DATASETS.build(dataset)


# ---- fields


@pytest.mark.parametrize('fields', [dict(iscrowd='0'), dict(area='120.5'), dict(area=None), dict(category_id='1')])
def test_fields_with_one_meaning_are_read(tmp_path, fields):
    data = prepare_own_data(roboflow(tmp_path, with_fields(**fields)), tmp_path / 'out')
    annotations = json.loads(data.ann_files['train'].read_text())['annotations']
    assert [(entry['iscrowd'], type(entry['area']) in (int, float)) for entry in annotations] == [(0, True)] * 2


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(iscrowd=1), 'all 2 boxes are crowds'),
        (dict(iscrowd='no'), '"iscrowd" \'no\'; expected 0 or 1'),
        (dict(area=float('nan')), '"area" nan; expected a number of pixels'),
        (dict(category_id=1.5), '"category_id" 1.5; expected a whole number'),
    ],
)
def test_other_fields_are_refused(tmp_path, fields, message):
    with pytest.raises(OwnDataError, match=message):
        prepare_own_data(roboflow(tmp_path, with_fields(**fields)), tmp_path / 'out')


def test_long_names_double_keys_and_ids_are_refused(tmp_path):
    long = coco([], names=('c' * 5000, 'dog'))
    with pytest.raises(OwnDataError, match=r'a class name has 5000 characters.*at most 200'):
        prepare_own_data(roboflow(tmp_path, long, long), tmp_path / 'out')
    content = coco()
    content['categories'][1]['id'] = 1
    with pytest.raises(OwnDataError, match='several categories have the id 1'):
        prepare_own_data(roboflow(tmp_path, content), tmp_path / 'out')
    folder = roboflow(tmp_path, coco())
    text = json.dumps(coco())
    (folder / 'train/_annotations.coco.json').write_text(text[:-1] + ', "annotations": []}')
    with pytest.raises(OwnDataError, match='key "annotations" is given twice'):
        prepare_own_data(folder, tmp_path / 'out')
    content = coco()
    content['images'][0]['file_name'] = 'a' * 5000
    (folder / 'train/_annotations.coco.json').write_text(json.dumps(content))
    with pytest.raises(OwnDataError, match='1 of 1 image files are missing'):
        prepare_own_data(folder, tmp_path / 'out')


# ---- names of files and splits


@pytest.mark.parametrize(
    ('name', 'splits'),
    [
        ('instances_train2017', ['train']),
        ('latest_train', ['train']),
        ('instancesVal', ['valid']),
        ('instances_trainval', []),
        ('contest', []),
        ('train_test', ['train', 'test']),
        ('TEST', ['test']),
        ('validation-2', ['valid']),
    ],
)
def test_a_name_is_of_a_split_by_its_whole_words(name, splits):
    assert splits_in(name) == splits


def plain_coco(folder, *names):
    image(folder / 'images/a.jpg')
    image(folder / 'images/b.jpg')
    (folder / 'annotations').mkdir()
    content = coco()
    content['images'].append(dict(id=8, file_name='b.jpg', width=40, height=30))
    content['annotations'] += [dict(entry, image_id=8) for entry in content['annotations']]
    for name in names:
        (folder / f'annotations/{name}.json').write_text(json.dumps(content))
    return folder


def test_trainval_is_training_and_not_validation_too(tmp_path):
    with log_lines() as lines:
        data = prepare_own_data(plain_coco(tmp_path, 'instances_trainval'), tmp_path / 'out')
    assert 'The folder has no validation split: 1 of 2 training images are held out for it.' in data.warnings
    assert any(f'train from {tmp_path}/annotations/instances_trainval.json' in line for line in lines)


def test_two_splits_in_one_name_are_refused(tmp_path):
    with pytest.raises(
        OwnDataError, match=r'"train_test\.json".*could be train or test: its name has the words of both'
    ):
        prepare_own_data(plain_coco(tmp_path, 'train_test'), tmp_path / 'out')


def voc_three(folder, filename):
    (folder / 'Annotations').mkdir(parents=True)
    for number in range(3):
        image(folder / f'JPEGImages/img{number}.png')
        (folder / f'Annotations/img{number}.xml').write_text(voc_xml().replace('a.jpg', filename))
    return folder


@pytest.mark.parametrize('filename', ['img0.png', 'img0.jpg', 'img0', 'C:\\photos\\img7.png', ''])
def test_a_voc_file_belongs_to_the_image_of_its_own_name(tmp_path, filename):
    data = prepare_own_data(voc_three(tmp_path / 'voc', filename), tmp_path / 'out')
    names = [
        image['file_name'].rsplit('/', 1)[1]
        for file in data.ann_files.values()
        for image in json.loads(file.read_text())['images']
    ]
    assert sorted(names) == ['img0.png', 'img1.png', 'img2.png']


def test_several_voc_files_of_one_image_are_refused(tmp_path):
    folder = voc_three(tmp_path / 'voc', 'img0.png')
    for number in (1, 2):
        (folder / f'JPEGImages/img{number}.png').unlink()
    with pytest.raises(OwnDataError, match=r'several xml files belong to the image ".*img0\.png"'):
        prepare_own_data(folder, tmp_path / 'out')


def test_lists_of_cvat_say_which_images_a_split_has(tmp_path):
    for split, name in (('train', 'a'), ('train', 'unlisted'), ('val', 'b')):
        image(tmp_path / f'images/{split}/{name}.jpg')
        (tmp_path / f'labels/{split}').mkdir(parents=True, exist_ok=True)
        (tmp_path / f'labels/{split}/{name}.txt').write_text('0 0.5 0.5 0.5 0.5\n')
    (tmp_path / 'train.txt').write_text('data/images/train/a.jpg\n')
    (tmp_path / 'val.txt').write_text('images/val/b.jpg\n')
    (tmp_path / 'data.yaml').write_text('path: .\ntrain: train.txt\nval: val.txt\nnames:\n  0: cat\n')
    data = prepare_own_data(tmp_path, tmp_path / 'out')
    assert [len(sizes(data, split)) for split in ('train', 'valid')] == [1, 1]
    (tmp_path / 'train.txt').write_text('gone.jpg\n')
    with pytest.raises(OwnDataError, match=r'train\.txt:1: there is no image "gone\.jpg"'):
        prepare_own_data(tmp_path, tmp_path / 'out')


# ---- YOLO and YAML


def test_words_of_yaml_stay_class_names(tmp_path):
    folder = write_yolo(tmp_path)
    (folder / 'data.yaml').write_text('train: train/images\nval: valid/images\ntest:\nnames: [no, 12:30]\n')
    assert prepare_own_data(folder, tmp_path / 'out').classes == ('no', '12:30')


def test_labels_with_key_points_are_boxes(tmp_path):
    folder = write_yolo(tmp_path)
    for split in ('train', 'valid'):
        (folder / split / 'labels/a.txt').write_text('1.0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.9 0.9 2\n')
    with pytest.raises(OwnDataError, match=r'expected fractions of the image, from 0 to 1.*kpt_shape'):
        prepare_own_data(folder, tmp_path / 'out')
    (folder / 'data.yaml').write_text('names: [cat, dog]\nkpt_shape: [2, 3]\n')
    assert kept(prepare_own_data(folder, tmp_path / 'out')) == [[10, 7.5, 20, 15]]


def test_labels_that_are_not_found_are_told_with_the_place(tmp_path):
    folder = write_yolo(tmp_path)
    (folder / 'train/labels').rename(folder / 'train/other')
    with pytest.raises(OwnDataError, match=r'none of the 2 images has a label file.*train/labels/a\.txt'):
        prepare_own_data(folder, tmp_path / 'out')


ALIASES = ''.join(
    f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' if n else 'a0: &a0 [x, x, x, x, x, x, x, x, x]\n'
    for n in range(9)
)


@pytest.mark.parametrize('key', ['names', 'train', 'path', 'kpt_shape'])
def test_aliases_without_end_are_refused_at_once(tmp_path, key):
    folder = write_yolo(tmp_path)
    more = '' if key == 'names' else 'names: [cat, dog]\n'
    (folder / 'data.yaml').write_text(f'{ALIASES}{more}{key}: *a8\n')
    start = time.perf_counter()
    with pytest.raises(OwnDataError, match='more than 200000 entries with its aliases written out'):
        prepare_own_data(folder, tmp_path / 'out')
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names: &a [*a]\n', 'an anchor contains itself'),
        ('names: {0: cat, 0: dog}\n', 'key "0" is given twice'),
        ('names: [cat]\nnames: [dog]\n', 'key "names" is given twice'),
        ('names: [[cat]]\n', '"names" is'),
        ('x' * 4_000_001, r'4\.0 MB; expected at most 4 MB'),
    ],
)
def test_other_yaml_is_refused(tmp_path, text, message):
    folder = write_yolo(tmp_path)
    (folder / 'data.yaml').write_text(text)
    with pytest.raises(OwnDataError, match=message):
        prepare_own_data(folder, tmp_path / 'out')


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='needs named pipes')
def test_named_pipes_are_never_opened(tmp_path):
    folder = write_yolo(tmp_path)
    os.mkfifo(folder / 'train/images/pipe.jpg')
    os.mkfifo(folder / 'train/labels/empty.txt')
    data = prepare_own_data(folder, tmp_path / 'out')
    assert len(sizes(data)) == 2


def test_a_file_instead_of_the_folder_is_told(tmp_path):
    folder = write_yolo(tmp_path)
    with pytest.raises(OwnDataError, match=r'data\.yaml" is a file; expected the folder of the data'):
        prepare_own_data(folder / 'data.yaml', tmp_path / 'out')
