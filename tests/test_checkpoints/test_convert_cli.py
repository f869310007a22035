import hashlib
import importlib.util
from pathlib import Path

import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config

from glipv2_mmdet.checkpoints import Layout, to_ours, to_source
from tests.test_checkpoints.tiny_glip import mmdet_weights, tiny_config

SCRIPT = Path(__file__).parents[2] / 'tools' / 'model_converters' / 'glip_to_glipv2.py'


@pytest.fixture(scope='module')
def script():
    spec = importlib.util.spec_from_file_location('glip_to_glipv2', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    Config(dict(model=tiny_config())).dump(path)
    return path


@pytest.mark.parametrize('source', ['mmdet', 'original'])
def test_converted_file_loads_through_mmdet(source, script, config, tmp_path, capsys):
    ours = to_ours(mmdet_weights()).state_dict
    theirs = to_source(ours, Layout(source, True, (1, 2, 3), 'module.' if source == 'original' else ''))
    # as training leaves it: an optimizer and counters beside the weights
    torch.save({'model': theirs, 'optimizer': {'state': {}}, 'iteration': 7}, tmp_path / 'glip.pth')

    script.main([str(tmp_path / 'glip.pth'), '--out', str(tmp_path / 'out.pth'), '--config', str(config)])

    printed = capsys.readouterr().out
    assert f'source: {source} GLIP, with early fusion' in printed and 'fusion' in printed
    content = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert content['meta']['source'] == f'GLIP ({source})'
    digest = hashlib.sha256((tmp_path / 'glip.pth').read_bytes()).hexdigest()
    assert content['meta']['source_sha256'] == digest
    model = init_detector(str(config), str(tmp_path / 'out.pth'), palette='random', device='cpu')
    for name, value in model.state_dict().items():
        assert torch.equal(value, ours[name]), name


def test_report_says_what_was_left_behind(script, tmp_path, capsys):
    torch.save(mmdet_weights(), tmp_path / 'glip.pth')
    script.main([str(tmp_path / 'glip.pth'), '--out', str(tmp_path / 'out.pth')])
    printed = capsys.readouterr().out
    assert 'left behind: 5 x relative_position_index (computed from the window size)' in printed


def test_nothing_is_written_when_tensors_are_left_over(script, tmp_path):
    torch.save(mmdet_weights() | {'backbone.surprise': torch.zeros(1)}, tmp_path / 'glip.pth')
    with pytest.raises(SystemExit, match=r'glip.pth: 1 tensor\(s\) .*"backbone.surprise"'):
        script.main([str(tmp_path / 'glip.pth'), '--out', str(tmp_path / 'out.pth')])
    assert [file.name for file in tmp_path.iterdir()] == ['glip.pth']


def test_nothing_is_written_when_the_model_lacks_tensors(script, config, tmp_path):
    weights = mmdet_weights()
    del weights['bbox_head.head.bbox_pred.weight']
    torch.save(weights, tmp_path / 'glip.pth')
    with pytest.raises(SystemExit, match=r'1 tensor the checkpoint lacks: "bbox_head.box.weight"'):
        script.main([str(tmp_path / 'glip.pth'), '--out', str(tmp_path / 'out.pth'), '--config', str(config)])
    assert not (tmp_path / 'out.pth').exists()
