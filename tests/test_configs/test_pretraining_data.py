"""Which sources a pre-training recipe mixes, how, and that its loader gives batches of them."""

import json
from itertools import islice

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from glipv2_mmdet.datasets import MixedSampler
from tests.test_configs.reading import CONFIGS, read_recipe

RECIPES = (
    'glipv2_t_pretrain',
    'glipv2_t_pretrain_stage2',
    'glipv2_b_pretrain',
    'glipv2_b_pretrain_stage2',
    'glipv2_h_pretrain',
    'glipv2_b_bert_pretrain',
    'data_scale/o365_goldg',
    'data_scale/cap4m',
    'data_scale/cap12m',
)


def mixed_datasets(config):
    return config.train_dataloader.dataset.dataset.datasets


def without_pipeline(source):
    return {key: value for key, value in source.items() if key != 'pipeline'}


@pytest.mark.parametrize('name', RECIPES)
def test_prompts_are_counted_with_the_vocabulary_of_the_text_encoder(name):
    config = read_recipe(name)
    encoder = config.model.language_model
    steps = [step for dataset in mixed_datasets(config) for step in dataset.pipeline if step.type == 'BuildPrompt']
    assert len(steps) == len(mixed_datasets(config))
    assert {(step.vocab, step.max_tokens) for step in steps} == {(encoder.vocab, encoder.max_tokens)}


def test_data_of_each_recipe_is_the_papers():
    sources = Config.fromfile(CONFIGS / '_base_/datasets/pretrain_sources.py').sources

    def names(recipe):
        known = {name: without_pipeline(source) for name, source in sources.items()}
        return [
            next(name for name, source in known.items() if source == without_pipeline(dataset))
            for dataset in mixed_datasets(read_recipe(recipe))
        ]

    detection = ['objects365_v1', 'coco', 'open_images', 'visual_genome', 'imagenet_boxes']
    goldg = ['mixed', 'flickr30k']
    # GoldG of T leaves out the images of COCO
    assert names('glipv2_t_pretrain') == ['objects365_v1', 'mixed_no_coco', 'flickr30k', 'cap4m']
    assert names('glipv2_t_pretrain_stage2') == ['objects365_v1', 'mixed_no_coco', 'flickr30k']
    assert names('glipv2_b_pretrain') == names('glipv2_h_pretrain') == [*detection, *goldg, 'cc15m_sbu']
    assert names('glipv2_b_bert_pretrain') == names('glipv2_b_pretrain')
    assert names('glipv2_b_pretrain_stage2') == [*detection, *goldg]
    assert names('data_scale/o365_goldg') == ['objects365_v1', *goldg]
    assert names('data_scale/cap4m') == ['objects365_v1', *goldg, 'cap4m']
    assert names('data_scale/cap12m') == ['objects365_v1', *goldg, 'cap12m']
    files = [
        mixed_datasets(read_recipe(name))[index].ann_file
        for name, index in (('glipv2_t_pretrain', 1), ('glipv2_b_pretrain', 5))
    ]
    assert files == [f'mdetr_annotations/final_mixed_train{part}.json' for part in ('_no_coco', '')]


@pytest.mark.parametrize('name', RECIPES)
def test_every_recipe_mixes_by_size_replaces_what_fails_and_resumes_where_it_was(name):
    config = read_recipe(name)
    loader = config.train_dataloader
    assert loader.sampler == dict(type='MixedSampler')
    assert (loader.dataset.type, loader.dataset.dataset.type) == ('ReplaceFailedSamples', 'ConcatDataset')
    assert loader.batch_size == (2 if 'glipv2_t' in name else 1)  # 64 images on 32 and on 64 GPUs
    assert config.train_cfg.type == 'ResumableTrainLoop'


@pytest.fixture
def small_files(tmp_path):
    """Files of T's four sources, in the folders that the recipe names below data/."""

    def write(path, content):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def image(path):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((60, 80, 3), dtype=np.uint8))

    size = dict(height=60, width=80)
    write(
        'data/objects365v1/objects365_train.json',
        json.dumps(
            dict(
                images=[dict(id=k, file_name=f'{k}.jpg', **size) for k in range(6)],
                annotations=[
                    dict(id=k, image_id=k, category_id=1, bbox=[10, 10, 30, 30], area=900, iscrowd=0) for k in range(6)
                ],
                categories=[dict(id=1, name='person')],
            )
        ),
    )
    for name, caption in (('final_mixed_train_no_coco', 'a red kite'), ('final_flickr_separateGT_train', 'a dog')):
        write(
            f'data/mdetr_annotations/{name}.json',
            json.dumps(
                dict(
                    images=[
                        dict(id=k, file_name=f'{k}.jpg', caption=caption, data_source='vg', **size) for k in range(2)
                    ],
                    annotations=[
                        dict(id=k, image_id=k, bbox=[10, 10, 30, 30], tokens_positive=[[0, len(caption)]])
                        for k in range(2)
                    ],
                )
            ),
        )
    write(
        'data/cap4m/cap4m_odvg.jsonl',
        ''.join(
            json.dumps(
                dict(
                    filename=f'{k}.jpg',
                    **size,
                    grounding=dict(caption='wet sand', regions=[dict(bbox=[10, 10, 40, 40], tokens_positive=[[0, 8]])]),
                )
            )
            + '\n'
            for k in range(2)
        ),
    )
    for folder in ('objects365v1/train', 'gqa/images', 'flickr30k/flickr30k_images', 'cap4m/images'):
        for number in range(6):
            image(f'data/{folder}/{number}.jpg')
    (tmp_path / 'data/gqa/images/0.jpg').write_bytes(b'no image')
    return tmp_path


@pytest.mark.slow
def test_the_loader_of_a_recipe_gives_batches_of_all_its_sources(small_files, monkeypatch):
    monkeypatch.chdir(small_files)
    loader = read_recipe('glipv2_t_pretrain').train_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    built = Runner.build_dataloader(loader, seed=0)
    assert isinstance(built.batch_sampler.sampler, MixedSampler)
    assert built.dataset.cumulative_sizes == [6, 8, 10, 12] and 'classes' not in built.dataset.metainfo

    seen = []
    for batch in islice(built, 12):  # two images each: twice the data
        assert len(batch['inputs']) == 2
        seen += [sample.prompt for sample in batch['data_samples']]
    captions = {prompt.text for prompt in seen if not prompt.is_detection}
    assert captions == {'a red kite. ', 'a dog. ', 'wet sand. '}
    of_detection = [prompt for prompt in seen if prompt.is_detection]
    assert len(of_detection) == 12 and all('person' in prompt.names for prompt in of_detection)
    assert built.dataset.num_failures >= 1  # the broken image
