"""What a training starts from: never random numbers by accident, never published weights under a checkpoint."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from safetensors.torch import save_file

from glipv2_mmdet.engine.starting_weights import StartingWeightsError, brings_checkpoint, prepare_starting_weights
from glipv2_mmdet.models.pretrained_encoder import encoders_of, with_text_encoder
from tests.test_models.nano import TEXT_CHANNELS, detector_settings

REPOSITORY_CONFIGS = 'configs/glipv2'


def settings(backbone=None, language_model=None, **parts):
    """A tiny detector whose two encoders have the given arguments."""
    config = detector_settings(parts)
    config['backbone'] |= backbone or {}
    config['language_model'] |= language_model or {}
    return config


SCRATCH = dict(from_scratch=True)


@pytest.fixture
def published(tmp_path):
    """Weights of both encoders in files, and the detector that they are from."""
    torch.manual_seed(5)
    detector = MODELS.build(settings(SCRATCH, SCRATCH))
    save_file(detector.backbone.model.state_dict(), tmp_path / 'swin.safetensors')
    save_file(detector.language_model.model.state_dict(), tmp_path / 'bert.safetensors')
    return tmp_path, detector


def test_random_encoders_stop_the_training():
    detector = MODELS.build(settings(language_model=SCRATCH))
    with pytest.raises(StartingWeightsError, match=r'start backbone \(TimmSwin\) from random(?s:.)*from_scratch=True'):
        prepare_starting_weights(detector, has_checkpoint=False)
    prepare_starting_weights(detector, has_checkpoint=True)


def test_random_encoders_that_were_asked_for_pass():
    prepare_starting_weights(MODELS.build(settings(SCRATCH, SCRATCH)), has_checkpoint=False)


def test_published_weights_are_loaded_when_a_training_starts(published):
    folder, original = published
    detector = MODELS.build(
        settings(dict(pretrained=f'{folder}/swin.safetensors'), dict(pretrained=f'{folder}/bert.safetensors'))
    )
    prepare_starting_weights(detector, has_checkpoint=False)
    detector.init_weights()  # what the runner calls next; timm and transformers would draw new numbers here
    for part in ('backbone.model', 'language_model.model'):
        ours, theirs = detector.get_submodule(part).state_dict(), original.get_submodule(part).state_dict()
        assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items()), part


def test_published_weights_are_not_even_looked_for_under_a_checkpoint():
    detector = MODELS.build(settings(dict(pretrained='absent.pth'), dict(pretrained='absent.pth')))
    prepare_starting_weights(detector, has_checkpoint=True)
    detector.init_weights()


def test_weights_of_the_whole_model_in_init_cfg_are_a_checkpoint():
    config = settings(dict(pretrained='absent.pth'), dict(pretrained='absent.pth'))
    config['init_cfg'] = dict(type='Pretrained', checkpoint='model.pth')
    prepare_starting_weights(MODELS.build(config), has_checkpoint=False)


def test_a_part_that_does_not_learn_needs_weights():
    detector = MODELS.build(settings(SCRATCH, SCRATCH, frozen_parts=('language_model', 'fusion', 'neck')))
    with pytest.raises(StartingWeightsError, match='keep random weights in fusion, neck'):
        prepare_starting_weights(detector, has_checkpoint=False)
    prepare_starting_weights(detector, has_checkpoint=True)


def test_a_checkpoint_without_the_frozen_text_encoder_is_completed_by_the_published_one(published):
    folder, original = published
    config = settings(SCRATCH, dict(pretrained=f'{folder}/bert.safetensors'), frozen_parts=('language_model',))
    weights = {name: tensor for name, tensor in original.state_dict().items() if not name.startswith('language_model.')}
    detector = MODELS.build(config)
    detector.load_state_dict(copy.copy(weights))  # strict: nothing may be missing
    assert all(torch.equal(tensor, original.state_dict()[name]) for name, tensor in detector.state_dict().items())


@pytest.mark.parametrize('change', ['it has one', 'it learns', 'nothing published'])
def test_a_checkpoint_is_left_as_it_is_where_a_text_encoder_is_no_published_one(published, change):
    folder, original = published
    config = settings(SCRATCH, dict(pretrained=f'{folder}/bert.safetensors'), frozen_parts=('language_model',))
    weights = {name: tensor for name, tensor in original.state_dict().items() if not name.startswith('language')}
    if change == 'it has one':
        weights = original.state_dict()
    elif change == 'it learns':
        config['frozen_parts'] = ()
    else:
        config['language_model']['pretrained'] = None
    assert with_text_encoder(MODELS.build(config), weights) is weights


def test_encoders_are_named_by_the_part_they_are():
    detector = MODELS.build(settings(dict(type='CoSwin', window_size=4)))
    assert [name for name, _ in encoders_of(detector)] == ['backbone', 'language_model']
    assert detector.language_model.channels == TEXT_CHANNELS


def test_a_run_brings_a_checkpoint_where_one_is_named_or_left_in_its_folder(tmp_path):
    assert brings_checkpoint(Config(dict(load_from='a.pth')))
    assert brings_checkpoint(Config(dict(default_hooks=dict(checkpoint=dict(start_from='a.pth')), resume=True)))
    config = Config(dict(work_dir=str(tmp_path), resume=True, load_from=None))
    assert not brings_checkpoint(config)
    (tmp_path / 'iter_20.pth').touch()
    assert brings_checkpoint(config)
    assert not brings_checkpoint(Config(dict(work_dir=str(tmp_path), resume=False)))
