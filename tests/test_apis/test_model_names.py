"""Every short name is a config that exists and makes a model."""

from __future__ import annotations

import shutil

import pytest
from mmengine.config import Config

from glipv2_mmdet.apis import model_names
from glipv2_mmdet.apis.model_loading import inference_parts
from glipv2_mmdet.apis.model_names import MODEL_CONFIGS, config_of, configs_dir, is_shipped


@pytest.mark.parametrize('name', MODEL_CONFIGS)
def test_short_names_have_a_config_with_the_head_they_promise(name):
    parts, pipeline = inference_parts(Config.fromfile(config_of(name)))
    for ending, head in (('-mask', 'mask_head'), ('-vqa', 'vqa_head'), ('-caption', 'caption_head')):
        assert bool(parts.get(head)) == name.endswith(ending)
    if '-grounded-vqa' in name:
        assert parts['vqa_head']['grounded']
    assert parts['mlm_head'] is None and parts['inter_loss'] is None
    assert pipeline[0]['type'] == 'LoadImageFromFile' and pipeline[-1]['type'] == 'PackDetInputs'


def test_other_shipped_configs_go_by_their_file_name():
    assert config_of('glipv2_t_refcoco').name == 'glipv2_t_refcoco.py'
    assert config_of('loc_intra').parent.name == 'ablation'


def test_an_installed_copy_finds_its_configs(tmp_path, monkeypatch):
    package = tmp_path / 'site-packages' / 'glipv2_mmdet'
    shutil.copytree(configs_dir(), package / '.mim' / 'configs', ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr(model_names, '_PACKAGE', package)
    config = config_of('glipv2-nano')
    assert config == package / '.mim/configs/glipv2/glipv2_nano_shapes_pretrain.py'
    assert is_shipped(config) and not is_shipped(tmp_path / 'own.py')
    shutil.rmtree(package / '.mim')
    with pytest.raises(FileNotFoundError, match='Install the package again'):
        config_of('glipv2-nano')
