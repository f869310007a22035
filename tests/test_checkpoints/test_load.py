import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from glipv2_mmdet.checkpoints import (
    CheckpointError,
    Layout,
    check_fits,
    load_weights,
    read_checkpoint,
    save_checkpoint,
    state_dict_of,
    to_ours,
    to_source,
)
from tests.test_checkpoints.tiny_glip import mmdet_weights, tiny_config


@pytest.fixture
def model():
    return MODELS.build(tiny_config())


@pytest.fixture
def weights():
    return to_ours(mmdet_weights()).state_dict


def test_converted_weights_fill_the_model_completely(model, weights):
    report = load_weights(model, weights)
    assert set(report.loaded) == set(model.state_dict()) and not report.missing and not report.unexpected
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_late_fusion_weights_fill_the_late_fusion_model():
    model = MODELS.build(tiny_config(early_fusion=False))
    assert not load_weights(model, to_ours(mmdet_weights(early_fusion=False)).state_dict).missing


def test_one_error_lists_everything_and_nothing_is_set(model, weights):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights['mask_head.weight'] = torch.zeros(1)
    weights['bbox_head.box.weight'] = torch.zeros(4, 16, 1, 1)
    del weights['backbone.norms.0.weight'], weights['backbone.norms.0.bias']
    with pytest.raises(CheckpointError) as error:
        load_weights(model, weights)
    text = str(error.value)
    assert 'does not fit GLIPv2' in text
    assert '2 tensors the checkpoint lacks: "backbone.norms.0.weight", "backbone.norms.0.bias"' in text
    assert '1 tensor the model does not use: "mask_head.weight"' in text
    assert '"bbox_head.box.weight" has shape (4, 16, 1, 1), the model needs (4, 32, 1, 1)' in text
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_long_lists_are_cut_and_counted(model, weights):
    weights |= {f'extra.{n}': torch.zeros(1) for n in range(9)}
    with pytest.raises(CheckpointError, match=r'9 tensors the model does not use: .*"extra.4", \.\.\.'):
        load_weights(model, weights)


def test_excused_tensors_may_differ(model, weights):
    weights['mask_head.weight'] = torch.zeros(1)
    del weights['bbox_head.bias0']
    report = load_weights(model, weights, allow_missing=['bbox_head.bias*'], allow_unexpected=['mask_head.*'])
    assert report.missing == ('bbox_head.bias0',) and report.unexpected == ('mask_head.weight',)


@pytest.mark.parametrize('call', [load_weights, check_fits])
@pytest.mark.parametrize(
    'layout',
    [Layout('mmdet', True, (1, 2, 3)), Layout('original', True, (1, 2, 3), 'module.')],
    ids=['mmdet', 'original'],
)
def test_an_unconverted_glip_file_is_recognised(call, layout, model, weights):
    with pytest.raises(CheckpointError, match=r'(?s)original GLIP|mmdet.s GLIP') as error:
        call(model, to_source(weights, layout))
    assert 'tools/model_converters/glip_to_glipv2.py' in str(error.value)
    assert ('original' in str(error.value)) == (layout.source == 'original')


def test_parts_of_a_model_fit_but_other_architectures_do_not(model, weights):
    check_fits(model, {name: value for name, value in weights.items() if name.startswith('backbone.')})
    check_fits(model, {f'ema.{name}': value for name, value in weights.items()}, prefix='ema.')
    with pytest.raises(CheckpointError, match=r'2 tensors the model does not use: "backbone.conv1.weight"'):
        check_fits(model, {'backbone.conv1.weight': torch.zeros(1), 'backbone.bn1.weight': torch.zeros(1)})
    weights['bbox_head.bias_lang'] = torch.zeros(768)
    with pytest.raises(CheckpointError, match=r'"bbox_head.bias_lang" has shape \(768,\), .* \(24,\)'):
        check_fits(model, weights)


def test_weights_are_found_in_every_wrapper():
    weights = {'a.weight': torch.ones(2)}
    optimizer = {'state': {}, 'param_groups': []}
    for checkpoint in (
        weights,
        {'model': weights, 'optimizer': optimizer, 'iteration': 3},
        {'state_dict': weights, 'ema_state_dict': {}, 'meta': {'epoch': 1}},
    ):
        assert list(state_dict_of(checkpoint)) == ['a.weight']


@pytest.mark.parametrize(('checkpoint', 'got'), [({}, 'nothing'), ({'epoch': 3}, '"epoch"'), ([1], 'list')])
def test_a_file_without_weights_is_refused(checkpoint, got):
    with pytest.raises(CheckpointError, match=f'holds no weights.*got {got}'):
        state_dict_of(checkpoint)


def test_files_are_written_in_one_step_and_read_weights_only(tmp_path):
    path = tmp_path / 'new' / 'weights.pth'
    save_checkpoint(path, {'a': torch.arange(3)}, meta=dict(source='test'))
    content = read_checkpoint(path)
    assert content['meta'] == {'source': 'test'} and content['state_dict']['a'].tolist() == [0, 1, 2]
    assert [file.name for file in path.parent.iterdir()] == ['weights.pth']


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'weights.pth'
    save_checkpoint(path, {'a': torch.zeros(1)}, meta={})
    with pytest.raises((AttributeError, TypeError)):
        save_checkpoint(path, {'a': torch.ones(1)}, meta=dict(unpicklable=lambda: None))
    assert read_checkpoint(path)['state_dict']['a'].item() == 0
    assert [file.name for file in tmp_path.iterdir()] == ['weights.pth']


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint ".*missing.pth"'):
        read_checkpoint(tmp_path / 'missing.pth')
    (tmp_path / 'page.pth').write_text('<html>not found</html>')
    with pytest.raises(CheckpointError, match=r'page.pth" cannot be read as weights'):
        read_checkpoint(tmp_path / 'page.pth')
    torch.save({'model': {'a': np.random.default_rng(0)}}, tmp_path / 'objects.pth')
    with pytest.raises(CheckpointError, match=r'objects.pth" cannot be read as weights'):
        read_checkpoint(tmp_path / 'objects.pth')


class Unknown:
    """A class that no checkpoint may hold."""


def test_the_refusal_is_in_plain_words_and_does_not_say_how_to_switch_protection_off(tmp_path):
    file = tmp_path / 'objects.pth'
    torch.save(dict(state_dict={}, more=Unknown()), file)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(file)
    message = str(caught.value)
    assert message.isprintable() and 'two options' not in message and 'add_safe_globals' not in message
    assert f'cannot be read as weights: Unsupported global: GLOBAL {__name__}.Unknown was not an allowed' in message
