"""Raw layouts in small: what the converter scripts make of them, twice, and what they say of broken files."""

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

from glipv2_mmdet.datasets import GroundedODVGDataset

SCRIPTS = Path(__file__).resolve().parents[3] / 'tools/dataset_converters'


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def label_map(path):
    return json.loads(path.with_name(f'{path.stem}_label_map.json').read_text())


def picture(path, width=200, height=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (width, height)).save(path)


def box(image, category, bbox, **more):
    return dict(image_id=image, category_id=category, bbox=bbox, area=1.0, **more)


@pytest.fixture
def coco(tmp_path):
    path = tmp_path / 'instances.json'
    path.write_text(
        json.dumps(
            dict(
                info=dict(year=2017),
                licenses=[],
                images=[
                    dict(id=4, file_name='b.jpg', height=100, width=200),
                    dict(id=2, file_name='a.jpg', height=100, width=200),
                ],
                annotations=[
                    box(2, 90, [10, 20, 30, 40]),
                    box(4, 1, [0, 0, 5, 5]),
                    box(2, 1, [1, 1, 2, 2]),
                    box(2, 1, [0, 0, 200, 100], iscrowd=1),
                ],
                categories=[dict(id=90, name='toothbrush'), dict(id=1, name='person ')],
            )
        )
    )
    return path


def test_coco(coco, tmp_path, capsys):
    out = tmp_path / 'out' / 'coco.jsonl'
    picture(tmp_path / 'images/a.jpg'), picture(tmp_path / 'images/b.jpg')
    arguments = [str(coco), '--out', str(out), '--check', '--image-root', str(tmp_path / 'images')]
    assert script('coco_to_odvg')(arguments) == 0
    assert lines(out) == [
        dict(
            filename='b.jpg',
            height=100,
            width=200,
            image_id=4,
            detection=dict(instances=[dict(bbox=[0, 0, 5, 5], label=0)]),
        ),
        dict(
            filename='a.jpg',
            height=100,
            width=200,
            image_id=2,
            detection=dict(instances=[dict(bbox=[10, 20, 40, 60], label=1), dict(bbox=[1, 1, 3, 3], label=0)]),
        ),
    ]
    assert label_map(out) == {'0': 'person', '1': 'toothbrush'}
    shown = capsys.readouterr().out
    assert '2 records written' in shown and '| boxes | 3 |' in shown and '| missing images | 0 |' in shown
    assert sorted(path.name for path in out.parent.iterdir()) == [
        'coco.jsonl',
        'coco.jsonl.made_from.json',
        'coco_label_map.json',
    ]  # no temporary file stays
    # again: nothing to do; the raw file changes: done again
    stamp = out.stat().st_mtime_ns
    assert script('coco_to_odvg')(arguments) == 0 and out.stat().st_mtime_ns == stamp
    assert 'up to date' in capsys.readouterr().out
    coco.write_text(coco.read_text().replace('[1, 1, 2, 2]', '[1, 1, 2, 22]'))
    assert script('coco_to_odvg')(arguments) == 0
    assert lines(out)[1]['detection']['instances'][1]['bbox'] == [1, 1, 3, 23]


def test_the_check_names_missing_and_wrong_images(coco, tmp_path, capsys):
    picture(tmp_path / 'images/a.jpg', 100, 100)
    assert (
        script('coco_to_odvg')(
            [str(coco), '--out', str(tmp_path / 'c.jsonl'), '--check', '--image-root', str(tmp_path / 'images')]
        )
        == 1
    )
    shown = capsys.readouterr().out
    assert '| missing images | 1 |' in shown and '| wrong sizes | 1 |' in shown
    assert 'c.jsonl:2: ' in shown and 'is 100 x 100, the record says 200 x 100' in shown


def test_objects365_v2_file_names_and_absent_images(coco, tmp_path):
    text = coco.read_text().replace('"b.jpg"', '"images/v1/patch8/b.jpg"')
    coco.write_text(
        text.replace('"a.jpg"', '"images/v2/patch16/objects365_v2_00908726.jpg"').replace('toothbrush', 'Bakset')
    )
    out = tmp_path / 'o.jsonl'
    assert (
        script('coco_to_odvg')(
            [str(coco), '--out', str(out), '--file-names', 'last_folder', '--renames', 'objects365_v2']
        )
        == 0
    )
    assert [record['filename'] for record in lines(out)] == ['patch8/b.jpg']
    assert label_map(out)['1'] == 'Basket'


def test_lvis_finds_its_images_by_url(tmp_path):
    raw = tmp_path / 'lvis.json'
    raw.write_text(
        json.dumps(
            dict(
                annotations=[box(9, 2, [1, 2, 3, 4])],
                categories=[dict(id=2, name='bow_(weapon)')],
                images=[
                    dict(id=9, height=10, width=20, coco_url='http://images.cocodataset.org/train2017/000000000009.jpg')
                ],
            )
        )
    )
    out = tmp_path / 'l.jsonl'
    assert script('lvis_to_odvg')([str(raw), '--out', str(out)]) == 0
    assert lines(out)[0]['filename'] == 'train2017/000000000009.jpg' and label_map(out) == {'0': 'bow_(weapon)'}


def test_mdetr(tmp_path):
    raw = tmp_path / 'mixed.json'
    raw.write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=7, file_name='1.jpg', height='100', width='200', caption='a red kite', data_source='vg')
                ],
                annotations=[dict(image_id=7, bbox=[1, 2, 3, 4], tokens_positive=[[0, 10]])],
                categories=[],
            )
        )
    )
    out = tmp_path / 'm.jsonl'
    assert script('mdetr_to_odvg')([str(raw), '--out', str(out), '--check', '--image-folder', 'vg=gqa/images']) == 0
    assert lines(out) == [
        dict(
            filename='gqa/images/1.jpg',
            height=100,
            width=200,
            image_id=7,
            grounding=dict(
                caption='a red kite',
                regions=[dict(bbox=[[1, 2, 4, 6]], phrase='a red kite', tokens_positive=[[0, 10]])],
            ),
        )
    ]


def test_open_images(tmp_path, capsys):
    (tmp_path / 'classes.csv').write_text('/m/01g317,Person\n/m/0k4j,Car\n')
    (tmp_path / 'boxes.csv').write_text(
        'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n'
        '00b,xclick,/m/0k4j,1,0.10,0.45,0.20,0.80,0,0,0,0,0\n00a,xclick,/m/01g317,1,0,1,0,1,0,0,0,0,0\n'
        '00b,xclick,/m/01g317,1,0,1,0,1,0,0,1,0,0\n00c,xclick,/m/0k4j,1,0,1,0,1,0,0,0,0,0\n'
    )
    picture(tmp_path / 'train/00a.jpg', 40, 30), picture(tmp_path / 'train/00b.jpg', 200, 100)
    out = tmp_path / 'oi.jsonl'
    assert (
        script('open_images_to_odvg')(
            [
                str(tmp_path / 'boxes.csv'),
                '--classes',
                str(tmp_path / 'classes.csv'),
                '--images',
                str(tmp_path / 'train'),
                '--out',
                str(out),
                '--check',
                '--image-root',
                str(tmp_path / 'train'),
            ]
        )
        == 0
    )
    assert [(r['filename'], r['detection']['instances']) for r in lines(out)] == [
        ('00a.jpg', [dict(bbox=[0, 0, 40, 30], label=0)]),
        ('00b.jpg', [dict(bbox=[20, 20, 90, 80], label=1)]),
    ]
    assert '1 images with boxes are not in' in capsys.readouterr().out


def test_visual_genome(tmp_path):
    def thing(*names):
        return dict(object_id=1, x=1, y=2, w=3, h=4, names=list(names), synsets=[])

    (tmp_path / 'objects.json').write_text(
        json.dumps(
            [
                dict(image_id=1, objects=[thing('Street  Lamp'), thing('dog', 'puppy'), thing()]),
                dict(image_id=2, objects=[thing('street lamp'), thing('dog'), thing('dog'), thing('rare')]),
            ]
        )
    )
    (tmp_path / 'image_data.json').write_text(
        json.dumps(
            [
                dict(image_id=2, width=9, height=8, url='https://x/VG_100K_2/2.jpg'),
                dict(image_id=1, width=200, height=100, url='https://x/VG_100K/1.jpg'),
            ]
        )
    )
    out = tmp_path / 'vg.jsonl'
    arguments = [str(tmp_path / 'objects.json'), '--image-data', str(tmp_path / 'image_data.json'), '--out', str(out)]
    assert script('visual_genome_to_odvg')([*arguments, '--min-uses', '2', '--check']) == 0
    assert label_map(out) == {'0': 'dog', '1': 'street lamp'}
    assert [(r['filename'], r['width'], [i['label'] for i in r['detection']['instances']]) for r in lines(out)] == [
        ('VG_100K/1.jpg', 200, [1, 0]),
        ('VG_100K_2/2.jpg', 9, [1, 0, 0]),
    ]
    with pytest.raises(ValueError, match=r"no name has 100 boxes; the most frequent are \[\('dog', 3\)"):
        script('visual_genome_to_odvg')(arguments)


def test_imagenet_boxes(tmp_path):
    (tmp_path / 'synsets.txt').write_text('n1 crane, heron\nn2 tench, Tinca tinca\nn3 crane\n')
    for synset in ('n3', 'n2'):
        folder = tmp_path / 'xml' / synset
        folder.mkdir(parents=True)
        (folder / f'{synset}_7.xml').write_text(
            '<annotation><filename>x</filename><size><width>50</width><height>40</height></size><object>'
            f'<name>{synset}</name><bndbox><xmin>13</xmin><ymin>1</ymin><xmax>40</xmax><ymax>39</ymax></bndbox>'
            '</object></annotation>'
        )
    out = tmp_path / 'in.jsonl'
    arguments = [str(tmp_path / 'xml'), '--synsets', str(tmp_path / 'synsets.txt'), '--out', str(out), '--force']
    assert script('imagenet_boxes_to_odvg')(arguments) == 0
    assert label_map(out) == {'0': 'crane', '1': 'tench'}
    assert [(r['filename'], r['detection']['instances']) for r in lines(out)] == [
        ('n2/n2_7.JPEG', [dict(bbox=[13, 1, 40, 39], label=1)]),
        ('n3/n3_7.JPEG', [dict(bbox=[13, 1, 40, 39], label=0)]),
    ]
    (tmp_path / 'xml/n2/n2_7.xml').write_text('<annotation>')
    with pytest.raises(ValueError, match=r'n2_7\.xml: no element found'):
        script('imagenet_boxes_to_odvg')(arguments)


def test_an_error_in_the_middle_leaves_no_output(coco, tmp_path):
    coco.write_text(coco.read_text()[:-2].replace('"file_name": "a.jpg", ', ''))
    out = tmp_path / 'c.jsonl'
    with pytest.raises(ValueError, match=r'instances\.json'):
        script('coco_to_odvg')([str(coco), '--out', str(out)])
    assert not list(tmp_path.glob('c.jsonl*'))


def test_what_is_written_can_be_trained_on(coco, tmp_path):
    script('coco_to_odvg')([str(coco), '--out', str(tmp_path / 'c.jsonl')])
    dataset = GroundedODVGDataset(
        data_root=str(tmp_path), ann_file='c.jsonl', label_map_file='c_label_map.json', pipeline=[]
    )
    assert [len(sample['instances']) for sample in dataset] == [1, 2]


def test_the_check_tool_reads_the_rendered_data_set_and_finds_spoilt_lines(shapes_dir, tmp_path, capsys):
    source = shapes_dir / 'annotations/train_odvg.jsonl'
    options = [
        '--label-map',
        str(shapes_dir / 'annotations/label_map.json'),
        '--image-root',
        str(shapes_dir / 'images/train'),
    ]
    assert script('check_odvg')([str(source), *options]) == 0
    spoilt = tmp_path / 'spoilt.jsonl'
    record = dict(
        filename='nowhere.jpg',
        height=9,
        width=9,
        grounding=dict(caption='a  dog', regions=[dict(bbox=[1, 1, 5, 5], tokens_positive=[[1, 3]])]),
    )
    spoilt.write_text(json.dumps(record) + '\n{"filename": \n')
    assert script('check_odvg')([str(spoilt), *options]) == 1
    shown = capsys.readouterr().out
    assert '| broken records | 1 |' in shown and '| blank spans | 1 |' in shown and '| missing images | 1 |' in shown


def test_captions_become_shards(shapes_dir, tmp_path):
    raw = shapes_dir / 'annotations/captions_train.json'
    assert script('captions_to_shards')([str(raw), '--out', str(tmp_path / 'c'), '--shard-size', '10']) == 0
    content = json.loads(raw.read_text())
    files = {image['id']: image['file_name'] for image in content['images']}
    shards = sorted((tmp_path / 'c').glob('captions-*[0-9].jsonl'))
    assert len(shards) == -(-len(content['annotations']) // 10)
    assert [pair for shard in shards for pair in lines(shard)] == [
        dict(filename=files[entry['image_id']], caption=entry['caption']) for entry in content['annotations']
    ]
