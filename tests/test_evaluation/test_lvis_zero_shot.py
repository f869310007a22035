"""LVIS's 1,203 names through data set, prompts, nano model and metric; minival out of val."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from tests.test_datasets.test_conversion.test_converters import script

pytest.importorskip('lvis', reason='needs the lvis package')
from mmdet.datasets.lvis import LVISV1Dataset

NAMES = LVISV1Dataset.METAINFO['classes']


@pytest.fixture(scope='module')
def lvis_root(tmp_path_factory, shapes_dir):
    """Two rendered scenes under LVIS's names, all of val2017, and a third of train2017."""
    root = tmp_path_factory.mktemp('coco')
    shapes = json.loads((shapes_dir / 'annotations/val.json').read_text())
    pictures = shapes['images'][:3]
    for picture, folder in zip(pictures, ('val2017', 'val2017', 'train2017'), strict=True):
        (root / folder).mkdir(exist_ok=True)
        shutil.copy(shapes_dir / 'images/val' / picture['file_name'], root / folder / picture['file_name'])
        picture['coco_url'] = f'http://images.cocodataset.org/{folder}/{picture.pop("file_name")}'
        picture.update(neg_category_ids=[7], not_exhaustive_category_ids=[])
    ids = {picture['id'] for picture in pictures}
    objects = [row for row in shapes['annotations'] if row['image_id'] in ids]
    for k, row in enumerate(objects):
        left, top, width, height = row['bbox']
        right, bottom = left + width, top + height
        row.update(
            id=k + 1,
            category_id=1 + 401 * (k % 3),
            area=width * height,
            segmentation=[[left, top, right, top, right, bottom, left, bottom]],
        )
    categories = [dict(id=k + 1, name=name, frequency='rcf'[k % 3]) for k, name in enumerate(NAMES)]
    (root / 'annotations').mkdir()
    (root / 'annotations/lvis_v1_val.json').write_text(
        json.dumps(dict(images=pictures, annotations=objects, categories=categories))
    )
    return root


@pytest.fixture(scope='module')
def minival(lvis_root):
    val = lvis_root / 'annotations/lvis_v1_val.json'
    assert script('lvis_minival')([str(val)]) == 0
    return lvis_root / 'annotations/lvis_v1_minival.json'


def test_minival_keeps_the_pictures_of_val2017_with_their_masks(lvis_root, minival):
    val, mini = (json.loads(path.read_text()) for path in (lvis_root / 'annotations/lvis_v1_val.json', minival))
    kept = [image['id'] for image in val['images'][:2]]
    assert [image['id'] for image in mini['images']] == kept
    assert all((lvis_root / image['file_name']).is_file() for image in mini['images'])
    assert mini['annotations'] == [row for row in val['annotations'] if row['image_id'] in kept]
    assert mini['categories'] == val['categories']


def test_minival_says_when_the_file_is_another(tmp_path, minival, capsys):
    assert script('lvis_minival')([str(minival), '--out', str(tmp_path / 'again.json')]) == 0
    assert 'Expected 4809 images' in capsys.readouterr().err
    (tmp_path / 'coco.json').write_text('{"images": [{"id": 3}], "annotations": [], "categories": []}')
    assert script('lvis_minival')([str(tmp_path / 'coco.json')]) == 2
    assert 'image 3 has no "coco_url"' in capsys.readouterr().err


def small(config, root):
    """The config's data on the made folder, in pictures of 96 pixels."""
    data = config.test_dataloader.dataset
    data.data_root = f'{root}/'
    data.pipeline[1].scale = (96, 96)
    return data


def test_ground_truth_as_prediction_is_perfect(lvis_root, minival):
    config = Config.fromfile('configs/glipv2/glipv2_t_lvis_zero_shot.py')
    dataset = DATASETS.build(small(config, lvis_root))
    metric = METRICS.build(dict(config.test_evaluator, ann_file=str(minival)))
    for item in dataset:
        sample = item['data_samples']
        truth = sample.gt_instances  # loaded after resizing: in original pixels
        metric.process(
            {},
            [
                dict(
                    img_id=sample.img_id,
                    pred_instances=dict(bboxes=truth.bboxes.tensor, labels=truth.labels, scores=torch.ones(len(truth))),
                )
            ],
        )
    figures = metric.evaluate(len(dataset))
    assert figures['lvis/bbox_AP'] == figures['lvis/bbox_fixed_AP'] == pytest.approx(1)


@pytest.mark.slow
def test_1203_names_are_31_prompts_over_one_encoding(lvis_root, minival, monkeypatch):
    config = Config.fromfile('configs/glipv2/glipv2_t_lvis_zero_shot.py')
    dataset = DATASETS.build(small(config, lvis_root))
    nano = Config.fromfile('configs/_base_/models/glipv2_nano.py').model
    nano.test_cfg.update(config.model.test_cfg)
    nano.test_cfg.update(score_thr=0.0, nms_pre=20)
    torch.manual_seed(0)
    model = MODELS.build(nano).eval()
    encoded, prompts = [], []
    encode, fuse = model.backbone.forward, model.fusion.forward
    monkeypatch.setattr(model.backbone, 'forward', lambda x: encoded.append(len(x)) or encode(x))
    monkeypatch.setattr(model.fusion, 'forward', lambda x, text: prompts.append(len(text.mask)) or fuse(x, text))
    metric = METRICS.build(dict(config.test_evaluator, ann_file=str(minival)))
    with torch.no_grad():
        samples = model.test_step(pseudo_collate([dataset[0], dataset[1]]))
    assert encoded == [2] and sum(prompts) == 2 * 31
    for sample in samples:
        found = sample.pred_instances
        of_prompt = torch.bincount(found.labels // 40, minlength=31)
        assert of_prompt.min() > 0 and of_prompt.max() <= 300 and len(found) > 300
        assert found.label_names[0] == NAMES[int(found.labels[0])]
    metric.process({}, [sample.to_dict() for sample in samples])
    figures = metric.evaluate(len(dataset))
    assert {name for name in figures if name.endswith('_AP')} == {'lvis/bbox_AP', 'lvis/bbox_fixed_AP'}
    assert all(-1 <= value <= 1 for value in figures.values()) and figures['lvis/bbox_AP'] >= 0
