"""The data bases in configs/_base_/datasets: built as shipped, on a small rendering."""

import inspect
import json
from pathlib import Path

import pytest
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from glipv2_mmdet.datasets.shapes import CATEGORIES
from glipv2_mmdet.text import parse_prompt

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets'


def _dataset(loader, data_root):
    return DATASETS.build({**loader['dataset'], 'data_root': str(data_root)})


@pytest.mark.parametrize(
    ('name', 'classes'), [('shapes_pretrain', CATEGORIES[:30]), ('shapes_zero_shot', CATEGORIES[30:])]
)
def test_class_names_are_those_of_the_annotation_file_in_its_order(name, classes):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    for loader in (config.val_dataloader, config.test_dataloader):
        assert tuple(loader.dataset.metainfo.classes) == classes
    for loader, evaluator in (
        (config.val_dataloader, config.val_evaluator),
        (config.test_dataloader, config.test_evaluator),
    ):
        assert evaluator.ann_file == loader.dataset.data_root + loader.dataset.ann_file


def test_training_samples_hold_a_prompt_that_labels_point_into(shapes_dir):
    config = Config.fromfile(CONFIGS / 'shapes_pretrain.py')
    dataset = _dataset(config.train_dataloader, shapes_dir)
    assert 24 < len(dataset) < 48
    kinds = set()
    for item in dataset:
        sample = item['data_samples']
        prompt, labels = sample.prompt, sample.gt_instances.labels
        kinds.add(prompt.is_detection)
        assert max(item['inputs'].shape[1:]) == max(config.img_scale)
        assert len(labels) == len(sample.gt_instances.bboxes) >= 1
        assert 0 <= labels.min() and labels.max() < len(prompt.phrases)
        assert {'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip'} <= set(sample.metainfo)
    assert kinds == {True, False}
    assert len(pseudo_collate([dataset[0], dataset[1]])['data_samples']) == 2


@pytest.mark.parametrize('name', ['shapes_pretrain', 'shapes_zero_shot'])
def test_evaluation_samples_carry_the_names_as_mmdet_hands_them_over(shapes_dir, name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    dataset = _dataset(config.val_dataloader, shapes_dir)
    assert len(dataset) == 8
    sample = dataset[0]['data_samples']
    assert sample.custom_entities is True
    prompt = parse_prompt(sample.text, custom_entities=True, overrides=sample.caption_prompt)
    assert list(prompt.names) == list(config.val_dataloader.dataset.metainfo.classes)
    _, _, x2, y2 = sample.gt_instances.bboxes.tensor.max(dim=0).values.tolist()
    assert x2 <= sample.ori_shape[1] and y2 <= sample.ori_shape[0]  # boxes stay in original pixels


def test_masks_of_both_kinds_of_files_load(shapes_dir):
    """Visible pixels arrive as one bitmap per box, from the jsonl as well as from the COCO file."""
    config = Config.fromfile(CONFIGS / 'shapes_pretrain.py')
    load = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations', 'with_bbox': True, 'with_mask': True}]
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.pipeline = load
        results = _dataset(loader, shapes_dir)[0]
        boxes, masks = results['gt_bboxes'].tensor, results['gt_masks'].masks
        assert len(boxes) == len(masks) >= 1
        for box, mask in zip(boxes.int().tolist(), masks, strict=True):
            x1, y1, x2, y2 = box
            assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0
            assert not results['gt_ignore_flags'].any()


@pytest.mark.real_data
def test_raccoon_photos_load_and_their_boxes_fit(shared_dir):
    config = Config.fromfile(CONFIGS / 'raccoon.py')
    folder = shared_dir / 'data/raccoon'
    if not folder.is_dir():
        pytest.skip(f'no raccoon photos in {folder}')
    train, val = _dataset(config.train_dataloader, folder), _dataset(config.val_dataloader, folder)
    assert (len(train), len(val)) == (154, 29)
    sample = train[0]['data_samples']
    assert sample.prompt.text == 'raccoon'
    assert sample.gt_instances.labels.tolist() == [0] * len(sample.gt_instances.bboxes)
    assert list(val[0]['data_samples'].text) == ['raccoon']
    names = [c['name'] for c in json.loads((folder / 'annotations/val.json').read_text())['categories']]
    assert names == list(config.val_dataloader.dataset.metainfo.classes)


SOURCES = (
    'coco',
    'objects365_v1',
    'objects365_v2',
    'lvis',
    'open_images',
    'visual_genome',
    'imagenet_boxes',
    'mixed',
    'mixed_no_coco',
    'flickr30k',
    'cap4m',
    'cap12m',
    'cc15m_sbu',
    'cc3m_shards',
)


@pytest.mark.parametrize('name', SOURCES)
def test_every_pretraining_source_is_made_of_registered_parts_with_their_own_settings(name):
    """Files are not there, so the constructor is not run; its arguments are checked against its signature."""
    source = Config.fromfile(CONFIGS / 'pretrain_sources.py').sources[name]
    for settings in (source, source.get('dataset')):
        if settings is None:
            continue
        known = {
            parameter
            for base in DATASETS.get(settings.type).__mro__
            if base is not object
            for parameter in inspect.signature(base.__init__).parameters
        }
        assert set(settings) - {'type'} <= known, name
    for step in source.pipeline:
        TRANSFORMS.build(step)
