"""CocoCaption: three layouts of caption files, and samples that survive the training pipeline without any box."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger

from glipv2_mmdet.datasets.caption_files import CaptionFileError, read_caption_file
from glipv2_mmdet.text import PromptError, PromptTokenizer

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'


def _karpathy(number, split, *raw):
    return dict(
        filepath='val2014',
        filename=f'COCO_val2014_{number:012d}.jpg',
        cocoid=number,
        imgid=0,
        split=split,
        sentences=[dict(raw=text, tokens=text.split()) for text in raw],
    )


KARPATHY = dict(
    dataset='coco',
    images=[
        _karpathy(777, 'train', 'Two cups on a tray. ', '\nA tray'),
        _karpathy(5, 'restval', 'A dog.', ' . '),
        _karpathy(6, 'val'),
        _karpathy(9, 'test', 'A cat', 'Cat\nin a box'),
    ],
)
BLIP = [
    dict(image='val2014/COCO_val2014_000000000777.jpg', caption='Two cups. ', image_id='coco_777'),
    dict(image='a/photo.jpg', caption='A photo'),
    dict(image='val2014/COCO_val2014_000000000777.jpg', caption='A tray', image_id='coco_777'),
]
COCO = dict(
    images=[dict(id=3, file_name='3.jpg', height=20, width=30), dict(id=4)],
    annotations=[
        dict(id=1, image_id=4, caption='A cat.'),
        dict(id=2, image_id=3, caption='Dogs '),
        dict(id=3, image_id=4, caption=''),
    ],
)


@pytest.fixture
def write(tmp_path):
    def put(content):
        path = tmp_path / 'captions.json'
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return put


def _samples(path, **settings):
    return DATASETS.build(
        dict(type='CocoCaption', ann_file=path, data_prefix=dict(img='root'), pipeline=[], **settings)
    )


def test_karpathys_training_set_is_train_and_restval_with_a_sample_per_caption(write):
    data = _samples(write(KARPATHY))
    assert [(sample['img_id'], sample['text']) for sample in data] == [
        (777, 'Two cups on a tray.'),
        (777, 'A tray'),
        (5, 'A dog.'),
    ]
    assert data[0]['img_path'] == 'root/val2014/COCO_val2014_000000000777.jpg'
    assert data[0]['tokens_positive'] == [] and data[0]['instances'] == [] and data[0]['custom_entities'] is False


def test_evaluation_has_a_sample_per_image_and_no_caption_in_it(write):
    path = write(KARPATHY)
    (sample,) = _samples(path, splits=('val',), test_mode=True)
    assert sample['img_id'] == 6 and not {'text', 'instances', 'tokens_positive'} & set(sample)
    assert [s['img_id'] for s in _samples(path, splits=('train', 'test'), test_mode=True)] == [777, 9]


def test_what_is_left_out_is_counted_in_the_log(write, caplog):
    with caplog.at_level(logging.INFO, logger=MMLogger.get_current_instance().name):
        MMLogger.get_current_instance().addHandler(caplog.handler)
        try:
            _samples(write(KARPATHY), splits=('restval', 'val'))
        finally:
            MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert '2 images, 1 captions, 1 captions without a word dropped, 1 images without a caption left out' in caplog.text


def test_blip_lists_are_grouped_by_image_and_numbered_by_file_name(write):
    path = write(BLIP)
    images = read_caption_file(path).images
    assert [(image.image_id, image.captions) for image in images] == [
        (777, ('Two cups.', 'A tray')),
        ('photo', ('A photo',)),
    ]
    assert len(_samples(path)) == 3 and len(_samples(path, test_mode=True)) == 2
    (listed,) = read_caption_file(write([dict(image='7.jpg', caption=['One', 'Two'])])).images
    assert listed.image_id == 7 and listed.captions == ('One', 'Two')


def test_coco_files_keep_sizes_and_ids_and_may_lack_file_names_for_the_metric_only(write):
    path = write(COCO)
    content = read_caption_file(path)
    assert [(image.image_id, image.captions, image.size) for image in content.images] == [
        (3, ('Dogs',), (20, 30)),
        (4, ('A cat.',), None),
    ]
    assert content.num_empty == 1
    with pytest.raises(CaptionFileError, match='image 4 has no "file_name"'):
        _samples(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"images"', r'not json .*Download'),
        (
            dict(images=[dict(id=1)]),
            r"unknown layout, the keys \['images'\]. Expected one of: Karpathy's .*BLIP .*COCO's",
        ),
        ([dict(image='1.jpg')], 'unknown layout, a list that starts with'),
        ('3', 'unknown layout, int'),
        (dict(images=[], annotations=[]), 'no images'),
        (
            dict(images=[], annotations=[dict(image_id=2, caption='A')]),
            'a caption of image 2, which "images" does not list',
        ),
        ([dict(image='1.jpg', caption='A'), dict(image='2.jpg')], "no field 'caption'"),
        (dict(KARPATHY, images=[_karpathy(1, 'validation', 'A')]), "split 'restval' is not in it; .*validation"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_layouts_that_can(write, content, message):
    with pytest.raises(CaptionFileError, match=message):
        _samples(write(content))


def test_training_without_any_caption_is_an_error(write):
    with pytest.raises(CaptionFileError, match='no captions to train on'):
        _samples(write(KARPATHY), splits=('val',))


def _prompt_of(**results):
    return TRANSFORMS.build(dict(type='CaptionPrompt')).transform(dict(img_path='1.jpg', **results))


def test_a_plain_caption_has_no_phrases_and_ends_with_a_full_stop_like_a_grounded_one():
    plain = _prompt_of(text='two crosses.', tokens_positive=[])
    bare = _prompt_of(text='two crosses', tokens_positive=[])
    grounded = _prompt_of(
        text='two crosses', tokens_positive=[[[4, 11]]], gt_bboxes=np.zeros((2, 4)), gt_bboxes_labels=np.array([0, 0])
    )
    assert plain['prompt'].phrases == () and plain['gt_bboxes_labels'].tolist() == []
    assert grounded['prompt'].names == ('crosses',) and grounded['gt_bboxes_labels'].tolist() == [0, 0]
    tokenizer = PromptTokenizer('bert-base-uncased')
    ids = [tokenizer(results['prompt']).input_ids for results in (plain, bare, grounded)]
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize(
    ('results', 'message'),
    [
        (dict(text=('cat', 'dog'), tokens_positive=None), "expected a caption. Use CocoCaption, .*kind='grounding'"),
        (dict(text='a cat', tokens_positive=[], gt_bboxes_labels=np.array([0])), '1 boxes and no phrases'),
        (dict(text=' . ', tokens_positive=[]), 'no letter or digit'),
    ],
)
def test_text_that_is_no_caption_is_refused(results, message):
    with pytest.raises(PromptError, match=message):
        _prompt_of(**results)


@pytest.mark.parametrize('flip', [0.0, 1.0])
def test_a_sample_without_boxes_passes_every_step_of_the_training_pipeline(shapes_dir, flip):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='GTBoxSubOne_GLIP'),
        dict(type='Resize', scale=(160, 160), keep_ratio=True),
        dict(type='RandomFlip_GLIP', prob=flip),
        dict(type='CleanBoxes'),
        dict(type='CaptionPrompt'),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_shape', 'prompt')),
    ]
    data = DATASETS.build(
        dict(
            type='CocoCaption',
            data_root=str(shapes_dir),
            ann_file='annotations/captions_train.json',
            data_prefix=dict(img='images/train'),
            pipeline=pipeline,
        )
    )
    assert len(data) == 24 * 5
    batch = pseudo_collate([data[0], data[7]])
    for sample in batch['data_samples']:
        assert sample.gt_instances.bboxes.tensor.shape == (0, 4) and len(sample.gt_instances.labels) == 0
        assert sample.prompt.text.endswith('.') and sample.prompt.phrases == ()
    assert batch['data_samples'][1].img_id == 2


def test_the_caption_configs_mix_captions_with_boxes_and_without(shapes_dir):
    config = Config.fromfile(CONFIGS / 'shapes_grounded_caption.py')
    settings = config.train_dataloader.dataset
    for part in settings.datasets:
        part.data_root = str(shapes_dir)
    grounded, plain = DATASETS.build(settings).datasets
    lines = (shapes_dir / 'annotations/train_odvg.jsonl').read_text().splitlines()
    assert len(grounded) == sum('grounding' in json.loads(line) for line in lines) > 0 and len(plain) == 120
    sample = grounded[0]['data_samples']
    assert len(sample.gt_instances.labels) >= 1 and sample.prompt.text.rstrip().endswith('.')
    sample = DATASETS.build({**config.val_dataloader.dataset, 'data_root': str(shapes_dir)})[0]['data_samples']
    assert 'text' not in sample and sample.img_id == 1_000_001


@pytest.mark.parametrize('name', ['coco_caption', 'flickr30k_grounded_caption'])
def test_the_photo_configs_are_made_of_registered_parts(name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    train = config.train_dataloader.dataset
    for part in train.get('datasets', [train]):
        assert DATASETS.get(part.type) is not None
        steps = [TRANSFORMS.build(step) for step in part.pipeline]
        assert sum(type(step).__name__ == 'CaptionPrompt' for step in steps) == 1
        assert not any('Flip' in type(step).__name__ for step in steps)
    assert config.test_evaluator.splits == config.test_dataloader.dataset.splits == ('test',)


@pytest.mark.real_data
def test_photos_of_coco_carry_their_official_captions(shared_dir):
    folder = shared_dir / 'data/coco_mini'
    if not folder.is_dir():
        pytest.skip(f'no photos of COCO in {folder}')
    data = DATASETS.build(
        dict(
            type='CocoCaption',
            data_root=str(folder),
            ann_file='annotations/captions_train.json',
            data_prefix=dict(img='images/train'),
            pipeline=[dict(type='LoadImageFromFile')],
        )
    )
    assert len(data) == 195
    assert data[0]['img'].shape[:2] == (data[0]['height'], data[0]['width'])


def test_a_mixed_odvg_file_can_be_read_for_its_captions_alone(shapes_dir):
    def read(**filter_cfg):
        return DATASETS.build(
            dict(
                type='GroundedODVGDataset',
                data_root=str(shapes_dir),
                ann_file='annotations/train_odvg.jsonl',
                label_map_file='annotations/label_map.json',
                filter_cfg=filter_cfg,
                pipeline=[],
            )
        )

    captions, lists = read(kind='grounding'), read(kind='detection')
    assert all(isinstance(sample['text'], str) for sample in captions)
    assert all(isinstance(sample['text'], tuple) for sample in lists)
    assert len(captions) + len(lists) == len(read()) and len(lists) == 24
    with pytest.raises(ValueError, match="kind='caption'; expected 'detection' or 'grounding'"):
        read(kind='caption')
