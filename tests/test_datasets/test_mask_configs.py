"""The data bases of mask runs: built as shipped, and on small files in the layout of the real downloads."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from PIL import Image

from tests.test_datasets.test_phrasecut import TASK

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets'
BOX = dict(bbox=[10, 10, 100, 80], area=8000, iscrowd=0, segmentation=[[10, 10, 110, 10, 110, 90, 10, 90]])


def build(loader, data_root):
    return DATASETS.build({**loader['dataset'], 'data_root': str(data_root)})


@pytest.mark.parametrize('name', ['shapes_masks', 'shapes_referring'])
def test_shapes_samples_have_a_mask_per_box_at_the_size_the_network_sees(shapes_dir, name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    for item in build(config.train_dataloader, shapes_dir):
        instances = item['data_samples'].gt_instances
        assert instances.masks.masks.shape == (len(instances.bboxes), *item['inputs'].shape[1:])
        assert (instances.masks.areas > 0).all()


def test_referring_phrases_are_evaluated_with_what_the_metric_reads(shapes_dir):
    config = Config.fromfile(CONFIGS / 'shapes_referring.py')
    sample = build(config.val_dataloader, shapes_dir)[0]['data_samples']
    assert {'task_id', 'instances', 'ori_shape', 'text', 'tokens_positive'} <= set(sample.metainfo)
    assert len({METRICS.build(metric).prefix for metric in config.val_evaluator}) == len(config.val_evaluator)


@pytest.mark.real_data
def test_real_photos_with_polygons_are_read(shared_dir):
    config = Config.fromfile(CONFIGS / 'fruits_masks.py')
    folder = shared_dir / 'data/fruits_nuts'
    train = build(config.train_dataloader, folder)
    assert len(train) == 15 and len(build(config.val_dataloader, folder)) == 3
    numbers = [len(item['data_samples'].gt_instances) for item in train]
    assert sum(numbers) == 64 + 31 + 40
    assert all((item['data_samples'].gt_instances.masks.areas > 0).all() for item in train)


@pytest.mark.real_data
def test_real_coco_photos_with_crowds_are_read(shared_dir):
    """Polygons, run lengths of crowds, and all 80 names."""
    dataset = copy.deepcopy(Config.fromfile(CONFIGS / 'coco_masks.py').train_dataloader.dataset)
    dataset.update(
        data_root=str(shared_dir / 'data/coco_mini'),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='images/train/'),
    )
    dataset.pipeline[4].scales = [(200, 333)]
    data = DATASETS.build(dataset)
    crowds = 0
    for item in data:
        sample = item['data_samples']
        assert len(sample.gt_instances.masks) == len(sample.gt_instances.bboxes) > 0
        assert len(sample.prompt.phrases) == 80
        crowds += len(sample.ignored_instances)
    assert crowds > 0


@pytest.fixture
def downloads(tmp_path):
    """COCO and PhraseCut with one photo each, where the configs look for them below data/."""
    for name in ('coco/train2017/1.jpg', 'phrasecut/images/2372979.jpg'):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new('RGB', (500, 375)).save(tmp_path / name)
    annotations = tmp_path / 'coco/annotations'
    annotations.mkdir()
    content = dict(
        images=[dict(id=1, file_name='1.jpg', height=375, width=500)],
        annotations=[dict(id=1, image_id=1, category_id=1, **BOX)],
        categories=[dict(id=1, name='person')],
    )
    (annotations / 'instances_train2017.json').write_text(json.dumps(content))
    (tmp_path / 'phrasecut/image_data_split.json').write_text(
        json.dumps([dict(image_id=2372979, height=375, width=500)])
    )
    for split in ('train', 'val', 'miniv', 'test'):
        (tmp_path / f'phrasecut/refer_{split}.json').write_text(json.dumps([TASK]))
    return tmp_path


def rooted(dataset, folder):
    """The same data set with data/ replaced; LVIS is left out where the lvis package is missing."""
    dataset = copy.deepcopy(dataset)
    if 'datasets' in dataset:
        dataset.datasets = [rooted(part, folder) for part in dataset.datasets if 'LVIS' not in str(part)]
    elif 'dataset' in dataset:
        dataset.dataset = rooted(dataset.dataset, folder)
    else:
        dataset.data_root = dataset.data_root.replace('data/', f'{folder}/', 1)
    return dataset


def test_the_second_stage_mixes_data_sets_in_the_papers_proportions(downloads):
    config = Config.fromfile(CONFIGS / 'coco_lvis_phrasecut.py')
    data = DATASETS.build(rooted(config.train_dataloader.dataset, downloads))
    # three times COCO, once PhraseCut
    assert len(data) == 4
    samples = [data[index]['data_samples'] for index in range(4)]
    assert [len(sample.prompt.phrases) for sample in samples] == [80, 80, 80, 1]
    assert samples[3].prompt.text == 'wooden chair. ' and samples[3].gt_instances.labels.tolist() == [0, 0]
    assert all((sample.gt_instances.masks.areas > 0).all() for sample in samples)


def test_phrasecut_validates_on_both_files_of_the_paper(downloads):
    config = Config.fromfile(CONFIGS / 'phrasecut.py')
    assert len(DATASETS.build(rooted(config.train_dataloader.dataset, downloads))) == 1
    assert len(DATASETS.build(rooted(config.val_dataloader.dataset, downloads))) == 2
    sample = DATASETS.build(rooted(config.test_dataloader.dataset, downloads))[0]['data_samples']
    assert sample.task_id == TASK['task_id'] and len(sample.instances) == 2
