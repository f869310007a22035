"""Folders as labelling tools export them become the same checked COCO files; what does not fit is named."""

import json
from pathlib import Path

import pytest
from PIL import Image

from glipv2_mmdet.datasets.own_data import OwnDataError, prepare_own_data
from glipv2_mmdet.text import PromptError

#: Boxes (x, y, w, h) by class of the one image of each split, 40 x 30 pixels.
BOXES = [('cat', [4, 3, 10, 12]), ('dog', [20, 6, 8, 18])]


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (40, 30)).save(path)


def coco(boxes=BOXES, names=('cat', 'dog'), file_name='a.jpg', first_id=1) -> dict:
    return dict(
        images=[dict(id=7, file_name=file_name, width=40, height=30)],
        annotations=[
            dict(id=k, image_id=7, category_id=names.index(name) + first_id, bbox=box, area=1, iscrowd=0)
            for k, (name, box) in enumerate(boxes)
        ],
        categories=[dict(id=k, name=name, supercategory='pets') for k, name in enumerate(names, start=first_id)],
    )


def write_roboflow(folder: Path, contents: dict[str, dict]) -> Path:
    for split, content in contents.items():
        for entry in content['images']:
            image(folder / split / entry['file_name'])
        (folder / split / '_annotations.coco.json').write_text(json.dumps(content))
    return folder


def write_plain_coco(folder: Path) -> Path:
    image(folder / 'images/a.jpg')
    (folder / 'annotations').mkdir()
    for name in ('instances_train2017', 'instances_val2017'):
        (folder / f'annotations/{name}.json').write_text(json.dumps(coco()))
    return folder


def write_yolo(folder: Path) -> Path:
    for split in ('train', 'valid'):
        image(folder / split / 'images/a.jpg')
        image(folder / split / 'images/empty.jpg')
        (folder / split / 'labels').mkdir()
        (x, y, w, h), (x2, y2, w2, h2) = (box for _, box in BOXES)
        polygon = [(x2, y2), (x2 + w2, y2), (x2 + w2, y2 + h2)]
        (folder / split / 'labels/a.txt').write_text(
            f'0 {(x + w / 2) / 40} {(y + h / 2) / 30} {w / 40} {h / 30}\n'
            '1 ' + ' '.join(f'{px / 40} {py / 30}' for px, py in polygon) + '\n'
        )
    (folder / 'data.yaml').write_text('train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\nnc: 2\n')
    return folder


def voc_xml(boxes=BOXES) -> str:
    objects = ''.join(
        f'<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>'
        '</bndbox></object>'
        for name, (x, y, w, h) in boxes
    )
    return f'<annotation><filename>a.jpg</filename>{objects}</annotation>'


def write_voc(folder: Path) -> Path:
    image(folder / 'JPEGImages/a.jpg')
    (folder / 'Annotations').mkdir()
    (folder / 'Annotations/a.xml').write_text(voc_xml())
    (folder / 'ImageSets/Main').mkdir(parents=True)
    for split in ('train', 'val'):
        (folder / f'ImageSets/Main/{split}.txt').write_text('a\n')
    return folder


def write_roboflow_voc(folder: Path) -> Path:
    for split in ('train', 'valid'):
        image(folder / split / 'a.jpg')
        (folder / split / 'a.xml').write_text(voc_xml())
    return folder


def write_coco_twice(folder: Path) -> Path:
    return write_roboflow(folder, dict(train=coco(), valid=coco()))


@pytest.mark.parametrize('write', [write_coco_twice, write_plain_coco, write_yolo, write_voc, write_roboflow_voc])
def test_every_layout_becomes_the_same_boxes(write, tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    data = prepare_own_data(write(folder), tmp_path / 'out')
    assert data.classes == ('cat', 'dog') and set(data.ann_files) == {'train', 'valid'} and data.warnings == ()
    for file in data.ann_files.values():
        content = json.loads(file.read_text())
        assert content['categories'] == [dict(id=1, name='cat'), dict(id=2, name='dog')]
        names = {image['id']: Path(image['file_name']) for image in content['images']}
        assert all(name.is_absolute() and name.is_file() for name in names.values())
        assert [(box['category_id'], box['id'], names[box['image_id']].name) for box in content['annotations']] == [
            (1, 1, 'a.jpg'),
            (2, 2, 'a.jpg'),
        ]
        for box, (_, expected) in zip(content['annotations'], BOXES, strict=True):
            assert box['bbox'] == pytest.approx(expected, abs=1e-6)


def test_the_dummy_category_of_roboflow_is_left_out(tmp_path):
    contents = {}
    for split in ('train', 'valid'):
        contents[split] = coco()
        contents[split]['categories'].insert(0, dict(id=0, name='pets', supercategory='none'))
    assert prepare_own_data(write_roboflow(tmp_path / 'data', contents), tmp_path / 'out').classes == ('cat', 'dog')
    # a class with id 0 that has boxes stays
    contents = {split: coco(first_id=0) for split in ('train', 'valid')}
    assert prepare_own_data(write_roboflow(tmp_path / 'zero', contents), tmp_path / 'o2').classes == ('cat', 'dog')


def test_categories_in_another_order_get_the_labels_of_training(tmp_path):
    folder = write_roboflow(tmp_path / 'data', dict(train=coco(), valid=coco(names=('dog', 'cat'))))
    data = prepare_own_data(folder, tmp_path / 'out')
    assert [box['category_id'] for box in json.loads(data.ann_files['valid'].read_text())['annotations']] == [1, 2]


def test_categories_that_differ_between_splits_are_named(tmp_path):
    folder = write_roboflow(tmp_path / 'data', dict(train=coco(), valid=coco([], names=('cat', 'bird'))))
    with pytest.raises(OwnDataError, match=r"differ: only in train \['dog'\], only in valid \['bird'\]"):
        prepare_own_data(folder, tmp_path / 'out')


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('category_id', 9, r'annotation 0 has category_id 9; the categories of the file have the ids \[1, 2\]'),
        ('image_id', 8, 'annotation 0 belongs to image 8, which is not in "images"'),
    ],
)
def test_boxes_of_unknown_things_are_named(tmp_path, field, value, message):
    content = coco()
    content['annotations'][0][field] = value
    with pytest.raises(OwnDataError, match=message):
        prepare_own_data(write_roboflow(tmp_path / 'data', dict(train=content, valid=coco())), tmp_path / 'out')


def test_a_missing_image_is_named(tmp_path):
    folder = write_coco_twice(tmp_path / 'data')
    (folder / 'valid/a.jpg').unlink()
    with pytest.raises(OwnDataError, match=r'1 of 1 image files are missing, for example ".*valid/a\.jpg"'):
        prepare_own_data(folder, tmp_path / 'out')


def test_a_class_without_boxes_and_useless_boxes_are_warned_of(tmp_path):
    boxes = [('cat', [4, 3, 10, 12]), ('cat', [50, 3, 10, 12]), ('cat', [35, 3, 10, 12])]
    folder = write_roboflow(tmp_path / 'data', dict(train=coco(boxes), valid=coco()))
    data = prepare_own_data(folder, tmp_path / 'out')
    assert [warning.split(': ', 1)[1] for warning in data.warnings] == [
        '1 of 2 boxes leave their image by more than a pixel, and are clipped.',
        '1 boxes are smaller than a pixel or outside their image, and left out.',
        'category "dog" has no box.',
    ]
    kept = json.loads(data.ann_files['train'].read_text())['annotations']
    assert [box['bbox'] for box in kept] == [[4, 3, 10, 12], [35, 3, 5, 12]]


def test_nothing_to_learn_is_an_error(tmp_path):
    with pytest.raises(OwnDataError, match='has no usable box'):
        prepare_own_data(write_roboflow(tmp_path / 'data', dict(train=coco([]), valid=coco())), tmp_path / 'out')


def test_equal_class_names_are_refused(tmp_path):
    contents = {split: coco([], names=('cat', 'Cat')) for split in ('train', 'valid')}
    with pytest.raises(PromptError, match='Cat'):
        prepare_own_data(write_roboflow(tmp_path / 'data', contents), tmp_path / 'out')


def test_without_a_validation_split_a_fifth_is_held_out(tmp_path):
    content = coco([])
    content['images'] = [dict(id=k, file_name=f'{k}.jpg', width=40, height=30) for k in range(10)]
    content['annotations'] = [dict(id=k, image_id=k, category_id=1, bbox=[1, 1, 5, 5]) for k in range(10)]
    folder = write_roboflow(tmp_path / 'data', dict(train=content))
    files = [prepare_own_data(folder, tmp_path / out).ann_files for out in ('one', 'two')]
    splits = [{split: json.loads(file.read_text())['images'] for split, file in both.items()} for both in files]
    assert splits[0] == splits[1]
    assert [len(splits[0][split]) for split in ('train', 'valid')] == [8, 2]
    assert {image['id'] for images in splits[0].values() for image in images} == set(range(10))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('0 0.5 0.5 0.1', r'a\.txt:1: 3 coordinates; expected 4'),
        ('cat 0.5 0.5 0.1 0.1', 'expected a class number'),
        ('5 0.5 0.5 0.1 0.1', 'has category_id 5'),
    ],
)
def test_broken_yolo_labels_are_named(tmp_path, text, message):
    folder = write_yolo(tmp_path)
    (folder / 'train/labels/a.txt').write_text(text)
    with pytest.raises(OwnDataError, match=message):
        prepare_own_data(folder, tmp_path / 'out')


def test_an_unknown_layout_says_what_is_known(tmp_path):
    (tmp_path / 'notes.txt').write_text('x')
    with pytest.raises(OwnDataError, match=r"no known layout \(found: \['notes\.txt'\]\)"):
        prepare_own_data(tmp_path, tmp_path / 'out')
    with pytest.raises(OwnDataError, match='no such folder'):
        prepare_own_data(tmp_path / 'none', tmp_path / 'out')
