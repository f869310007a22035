"""No file of a stranger runs code: checkpoints at every entry, shards, arrays, model folders, names in configs."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, init_detector
from mmengine.config import Config
from mmengine.model import PretrainedInit
from mmengine.runner import Runner, load_checkpoint
from torch import nn

from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.apis import finetuning, model_names
from glipv2_mmdet.apis.downloads import PublicCheckpoint, download
from glipv2_mmdet.apis.finetuning_config import FinetuneSettings
from glipv2_mmdet.apis.model_loading import read_weights
from glipv2_mmdet.apis.pretrained import save_pretrained
from glipv2_mmdet.apis.pseudo_labels import read_pairs
from glipv2_mmdet.checkpoints import CheckpointError, UnsafeCheckpointError, read_checkpoint, sha256
from glipv2_mmdet.cli import main as glipv2
from glipv2_mmdet.compat import safe_load
from glipv2_mmdet.datasets.image_text_stream import WebDatasetPairs
from glipv2_mmdet.datasets.line_offsets import LineReader
from glipv2_mmdet.datasets.odinw import odinw_sets
from glipv2_mmdet.export import load_program
from glipv2_mmdet.models import BertTextEncoder, TunedPrompt
from glipv2_mmdet.models.checked_nms import checked_nms
from glipv2_mmdet.text import PromptTokenizer
from tests.http_server import web_server
from tests.test_reliability.attack import (
    FORMATS,
    evil_array,
    evil_checkpoint,
    evil_program,
    evil_tar,
    load_tool,
)

ENTRIES: dict[str, Callable] = {}


def entry(function: Callable) -> Callable:
    """A way in that takes (file, its folder, config of a nano model)."""
    ENTRIES[function.__name__] = function
    return function


def failed(code: int | None) -> None:
    """A command that says by its exit code that it failed."""
    if code:
        raise SystemExit(code)


@entry
def own_reader(file, folder, config):
    read_checkpoint(file)


@entry
def weights_of_the_inferencer(file, folder, config):
    read_weights(file)


@entry
def inferencer(file, folder, config):
    GLIPv2Inferencer(config, file, 'cpu')


@entry
def load_checkpoint_of_mmengine(file, folder, config):
    load_checkpoint(nn.Linear(1, 1), str(file))


@entry
def checkpoint_by_http(file, folder, config):
    with web_server() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv('TORCH_HOME', str(folder))
        server.files['/evil.pth'] = file.read_bytes()
        load_checkpoint(nn.Linear(1, 1), f'{server.url}/evil.pth')


@entry
def start_weights_of_a_config(file, folder, config):
    PretrainedInit(str(file))(nn.Linear(1, 1))


@entry
def start_weights_of_a_part(file, folder, config):
    PretrainedInit(str(file), prefix='backbone.')(nn.Linear(1, 1))


@entry
def init_detector_of_mmdet(file, folder, config):
    init_detector(config, str(file), device='cpu')


@entry
def inferencer_of_mmdet(file, folder, config):
    DetInferencer(config, str(file), device='cpu')


@entry
def command_detect(file, folder, config):
    failed(glipv2(['detect', 'no.jpg', 'cat', '--model', config, '--weights', str(file)]))


@entry
def command_export(file, folder, config):
    failed(glipv2(['export', '--model', config, '--weights', str(file), '--out', str(folder)]))


@entry
def command_demo(file, folder, config):
    failed(glipv2(['demo', '--detect', config, str(file)]))


@entry
def converter_of_glip(file, folder, config):
    load_tool('model_converters/glip_to_glipv2').main([str(file), '--out', str(folder / 'out.pth')])


@entry
def converter_of_encoders(file, folder, config):
    load_tool('model_converters/encoders_to_glipv2').main([str(file), '--out', str(folder / 'out.pth')])


@entry
def converter_to_safetensors(file, folder, config):
    load_tool('model_converters/to_safetensors').main([str(file), '--out', str(folder / 'out.safetensors')])


@entry
def tool_pseudo_label(file, folder, config):
    load_tool('pseudo_label').main([config, str(file), 'a.jsonl', '--out', str(folder)])


@entry
def tool_test(file, folder, config):
    tool = load_tool('test')
    _start(tool.build_config(tool.parse_args([config, str(file), '--work-dir', str(folder)])))


@entry
def tool_train_from_weights(file, folder, config):
    tool = load_tool('train')
    _start(
        tool.build_config(tool.parse_args([config, '--work-dir', str(folder), '--cfg-options', f'load_from={file}']))
    )


@entry
def tool_train_resumed(file, folder, config):
    tool = load_tool('train')
    _start(tool.build_config(tool.parse_args([config, '--work-dir', str(folder), '--resume', str(file)])))


@entry
def tool_train_resumed_from_the_folder(file, folder, config):
    (folder / 'last_checkpoint').write_text(str(file))
    tool = load_tool('train')
    _start(tool.build_config(tool.parse_args([config, '--work-dir', str(folder), '--resume'])))


@entry
def tool_odinw(file, folder, config):
    tool = load_tool('odinw')
    (folder / 'a.json').write_text(json.dumps(dict(images=[], annotations=[], categories=[dict(id=1, name='cat')])))
    args = tool.parse_args([config, str(file), '--out', str(folder)])
    _start(tool.build_config(args, odinw_sets(13)[0], folder / 'a.json', 'test'))


@entry
def base_of_finetuning(file, folder, config):
    settings = FinetuneSettings(config=config, base=str(file), work_dir=str(folder), mode='prompt')
    with pytest.MonkeyPatch.context() as patch:
        # the data are read after the weights
        patch.setattr(finetuning, 'base_config', lambda settings, data: Config.fromfile(settings.config))
        truth = folder / 'valid.json'
        truth.write_text(json.dumps(dict(annotations=[dict(iscrowd=0)])))
        finetuning.evaluate_base(settings, SimpleNamespace(ann_files=dict(valid=truth)))


@entry
def tuned_prompt(file, folder, config):
    TunedPrompt.load(file.rename(folder / 'prompt.safetensors'))


@entry
def safetensors_that_is_none(file, folder, config):
    read_checkpoint(file.rename(folder / 'a.safetensors'))


@entry
def downloaded_file(file, folder, config):
    digest = sha256(file)[:8]
    with web_server() as server:
        server.files[f'/glip-{digest}.pth'] = file.read_bytes()
        download(
            PublicCheckpoint('glip-t', f'https://weights.example/glip-{digest}.pth', digest),
            folder / 'cache',
            server.url,
        )


def _start(config: Config) -> None:
    """What train() and test() do first."""
    config.launcher = 'none'
    runner = Runner.from_cfg(config)
    runner.load_or_resume()


@pytest.mark.parametrize('name', ENTRIES)
def test_a_malicious_checkpoint_is_refused_and_nothing_runs(name, tmp_path, nano_files, capsys):
    mark = tmp_path / 'mark'
    config, _ = nano_files('glipv2-nano')
    file = evil_checkpoint(tmp_path / 'evil.pth', mark)
    with pytest.raises((ValueError, pickle.UnpicklingError, SystemExit)) as error:
        ENTRIES[name](file, tmp_path, config)
    assert not mark.exists()
    captured = capsys.readouterr()
    told = f'{error.value}{captured.err}'
    assert 'evil' in told or '.safetensors' in told or isinstance(error.value, pickle.UnpicklingError), told


@pytest.mark.parametrize('form', FORMATS)
def test_every_format_is_refused_by_name_and_says_what_to_do(form, tmp_path):
    mark = tmp_path / 'mark'
    file = evil_checkpoint(tmp_path / 'evil.pth', mark, form)
    with pytest.raises(
        UnsafeCheckpointError,
        match=r'(?s)evil\.pth" cannot be read as weights.*may be an attack.*'
        r'\.safetensors file, which cannot hold code.*--trust',
    ):
        read_checkpoint(file)
    assert not mark.exists()


@pytest.mark.parametrize('form', FORMATS[:2])
def test_trust_unpickles_says_so_and_is_off_by_default(form, tmp_path, capsys):
    """The trap itself works: what the tests above refuse does run where it is trusted."""
    mark, out = tmp_path / 'mark', tmp_path / 'out.safetensors'
    file = evil_checkpoint(tmp_path / 'evil.pth', mark, form)
    tool = load_tool('model_converters/to_safetensors')
    with pytest.raises(SystemExit, match='may be an attack'):
        tool.main([str(file), '--out', str(out)])
    assert not mark.exists() and not out.exists()
    tool.main([str(file), '--out', str(out), '--trust'])
    assert mark.exists() and read_checkpoint(out)['backbone.weight'].tolist() == [0, 0]


@pytest.mark.parametrize('name', ['glip_to_glipv2', 'encoders_to_glipv2', 'to_safetensors'])
def test_the_command_line_says_what_trust_does(name, capsys):
    with pytest.raises(SystemExit):
        load_tool(f'model_converters/{name}').parse_args(['--help'])
    text = ' '.join(capsys.readouterr().out.split())
    assert '--trust unpickle everything' in text and 'which RUNS whatever code' in text


def test_safetensors_stand_for_a_checkpoint_everywhere(tmp_path, nano_files):
    config, weights = nano_files('glipv2-nano')
    file = tmp_path / 'nano.safetensors'
    assert load_tool('model_converters/to_safetensors').main([weights, '--out', str(file)]) == 0
    expected = torch.load(weights, weights_only=True)['state_dict']
    for model in (GLIPv2Inferencer(config, file, 'cpu').model, init_detector(config, str(file), device='cpu')):
        for tensor_name, tensor in model.state_dict().items():
            assert torch.equal(tensor, expected[tensor_name]), tensor_name


def test_old_torch_is_told_and_warned_about(tmp_path, monkeypatch):
    """Before 2.6 torch unpickles everything by default."""
    calls, said = [], []
    monkeypatch.setattr(torch, '__version__', '2.5.1')
    monkeypatch.setattr(torch, 'load', lambda file, **settings: calls.append(settings) or {})
    monkeypatch.setattr(safe_load, 'print_log', lambda text, **_: said.append(text))
    safe_load._warn_old_torch.cache_clear()
    safe_load.allow_mmengine_checkpoints()
    torch.save({}, tmp_path / 'a.pth')
    load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'a.pth'))
    read_checkpoint(tmp_path / 'a.pth')
    assert [call['weights_only'] for call in calls] == [True, True]
    assert len(said) == 1 and 'CVE-2025-32434' in said[0] and '.safetensors' in said[0]


# ---- other files


def test_members_of_a_shard_are_not_unpickled(tmp_path):
    pytest.importorskip('webdataset')
    mark = tmp_path / 'mark'
    shard = evil_tar(tmp_path / 'a.tar', mark)
    assert [pair.caption for pair in read_pairs(shard)] == ['a dog']
    with pytest.raises(ValueError, match='record has no "height"'):
        WebDatasetPairs(str(shard), num_samples=1)[0]
    assert not mark.exists()


def test_shards_are_not_commands(tmp_path, monkeypatch):
    """webdataset hands what stands behind "pipe:" to a shell."""
    pytest.importorskip('webdataset')
    monkeypatch.chdir(tmp_path)
    command = 'pipe:touch mark; cat a.tar'
    with pytest.raises(ValueError, match='is a command that would run in a shell'):
        WebDatasetPairs(['a.tar', command], num_samples=1)
    with pytest.raises(FileNotFoundError):
        list(read_pairs('pipe:touch mark; cat a.tar'))
    assert not (tmp_path / 'mark').exists()


def test_an_index_of_objects_is_not_unpickled_but_made_again(tmp_path):
    mark = tmp_path / 'mark'
    (tmp_path / 'a.txt').write_text('x\ny\n')
    evil_array(tmp_path / 'a.txt.offsets.npy', mark)
    assert LineReader(tmp_path / 'a.txt')[1] == b'y'
    assert not mark.exists()


@pytest.mark.parametrize('name', ['__import__("pathlib").Path("mark").touch', 'exec', ''])
def test_the_name_of_a_suppression_is_not_evaluated(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]])
    with pytest.raises(ValueError, match='Expected one of nms, soft_nms'):
        checked_nms(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 0]), dict(type=name, iou_threshold=0.5))
    assert not list(tmp_path.iterdir())
    kept = checked_nms(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 0]), dict(type='nms', iou_threshold=0.5))[1]
    assert kept.tolist() == [0]


def test_a_detector_does_not_evaluate_it_either(nano, scenes):
    model = nano('glipv2-nano')
    nms = model.model.test_cfg.nms
    try:
        model.model.test_cfg.nms = dict(type='print', iou_threshold=0.5)
        with pytest.raises(ValueError, match=r"test_cfg\.nms has the type 'print'"):
            model.detect(scenes[0], 'star', threshold=0.0)
    finally:
        model.model.test_cfg.nms = nms


def test_an_exported_program_is_not_unpickled(tmp_path):
    """torch.export.load retries without protection what it cannot read with it."""
    mark = tmp_path / 'mark'
    file = evil_program(tmp_path / 'evil.pt2', mark)
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        load_program(file)
    assert not mark.exists() and 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ
    # the trap itself works: torch alone springs it (and says so in a message that cannot be formatted)
    logging.disable(logging.CRITICAL)
    try:
        torch.export.load(str(file))
    finally:
        logging.disable(logging.NOTSET)
    assert mark.exists()


# ---- folders of save_pretrained


@pytest.fixture(scope='module')
def saved(nano, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('saved') / 'nano'
    nano('glipv2-nano').save_pretrained(folder)
    return folder


def test_links_that_lead_out_of_a_model_folder_are_refused(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / 'folder')
    (tmp_path / 'secret.txt').write_text('[PAD]\n')
    vocabulary = next(folder.glob('*.txt'))
    vocabulary.unlink()
    vocabulary.symlink_to(tmp_path / 'secret.txt')
    with pytest.raises(CheckpointError, match='a link that leads out of the folder'):
        GLIPv2Inferencer(folder, device='cpu')


def test_links_of_a_hugging_face_cache_are_fine(saved, tmp_path):
    snapshot = tmp_path / 'models--a--b/snapshots/0123'
    blobs = tmp_path / 'models--a--b/blobs'
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(path for path in saved.iterdir() if path.is_file()):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(f'../../blobs/{number}')
    assert GLIPv2Inferencer(snapshot, device='cpu').model is not None


@pytest.mark.parametrize(
    'content',
    [
        '[' * 100_000,
        '{"format": "glipv2_mmdet", "model": {}, "pipeline": 3}',
        '{"format": "glipv2_mmdet", "model": {}, "pipeline": [["Resize"]]}',
        '{"format": "glipv2_mmdet", "model": {"type": {"__tuple__": 3}}, "pipeline": []}',
        '{"format": "glipv2_mmdet", "model": ' + '{"a": ' * 900 + '1' + '}' * 900 + ', "pipeline": []}',
        '{"format": "glipv2_mmdet", "version": ' + '9' * 5000 + '}',
    ],
)
def test_deep_or_odd_json_is_a_clear_error(saved, tmp_path, content):
    folder = shutil.copytree(saved, tmp_path / 'folder')
    (folder / 'config.json').write_text(content)
    with pytest.raises(CheckpointError):
        GLIPv2Inferencer(folder, device='cpu')


CONFIG_CODE = 'from pathlib import Path\nPath("mark").touch()\nmodel = dict(type="GLIPv2")\n'
ATTACKS = {
    'opens a config': lambda c: c['model'].update(
        backbone=dict(
            type='KnowledgeDistillationSingleStageDetector',
            backbone={},
            neck={},
            bbox_head={},
            teacher_config='evil.py',
        )
    ),
    'evaluates its argument': lambda c: c['model']['bbox_head'].update(
        assigner=dict(type='CameraMotionCompensation', warp_mode='__import__("pathlib").Path("mark").touch()')
    ),
    'start weights in another scope': lambda c: c['model']['backbone'].update(
        init_cfg=dict(type='mmdet.Pretrained', checkpoint='evil.pth')
    ),
    'is no GLIPv2': lambda c: c.update(model=dict(type='mmdet.ATSS', backbone={})),
    'is a list': lambda c: c.update(model=[c['model']]),
    'training step': lambda c: c['pipeline'].append(dict(type='RandomResize', scale=(1, 1), resize_type='Resize')),
    'hidden type': lambda c: c['pipeline'].append(dict(type='Resize', scale=(1, 1), resize_type='pathlib.Path')),
    'reads elsewhere': lambda c: c['model']['language_model'].update(vocab='/etc/hostname'),
    'config elsewhere': lambda c: c['model']['language_model'].update(config='/tmp'),
    'base': lambda c: c['model'].update(_base_='evil.py'),
}


@pytest.mark.parametrize('name', ATTACKS)
def test_a_model_folder_builds_a_glipv2_and_nothing_else(name, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'evil.py').write_text(CONFIG_CODE)
    evil_checkpoint(tmp_path / 'evil.pth', tmp_path / 'mark')
    folder = shutil.copytree(saved, tmp_path / 'copy')
    (folder / 'evil.py').write_text(CONFIG_CODE)
    content = json.loads((folder / 'config.json').read_text())
    ATTACKS[name](content)
    (folder / 'config.json').write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r'asks for a component|not in the folder'):
        GLIPv2Inferencer(folder, device='cpu')
    assert not (tmp_path / 'mark').exists()


def test_weights_of_a_folder_that_are_a_pickle(saved, tmp_path):
    folder, mark = shutil.copytree(saved, tmp_path / 'copy'), tmp_path / 'mark'
    evil_checkpoint(folder / 'model.safetensors', mark)
    with pytest.raises(CheckpointError, match='cannot be read as safetensors'):
        GLIPv2Inferencer(folder, device='cpu')
    assert not mark.exists()


def test_other_keys_of_a_folder_import_nothing(saved, tmp_path, monkeypatch):
    """What is code in a config file is left alone here."""
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(saved, tmp_path / 'copy')
    (folder / 'evil.py').write_text(CONFIG_CODE)
    monkeypatch.syspath_prepend(str(folder))
    content = json.loads((folder / 'config.json').read_text())
    content.update(custom_imports=dict(imports=['evil']), default_scope='evil', _base_=[])
    (folder / 'config.json').write_text(json.dumps(content))
    GLIPv2Inferencer(folder, device='cpu')
    assert not (tmp_path / 'mark').exists()


def test_a_tokenizer_with_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'vocab'
    folder.mkdir()
    (folder / 'evil.py').write_text(CONFIG_CODE + 'class Tokenizer: pass\n')
    (folder / 'tokenizer_config.json').write_text(
        json.dumps(dict(auto_map=dict(AutoTokenizer=[None, 'evil.Tokenizer']), tokenizer_class='Tokenizer'))
    )
    with pytest.raises(ValueError, match='has no tokenizer that transformers can read'):
        PromptTokenizer(folder)
    assert not (tmp_path / 'mark').exists()


@pytest.mark.parametrize('key', ['attn_implementation', '_attn_implementation'])
def test_an_attention_is_not_fetched(key):
    """transformers loads an attention that it does not know from a hub, as code."""
    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    with pytest.raises(ValueError, match=r"attention 'someone/kernel'. Expected one of eager, sdpa"):
        BertTextEncoder(config={**sizes, key: 'someone/kernel'})


def test_start_weights_are_not_written_into_a_folder(nano, saved, tmp_path):
    """A folder that names them could not be opened again."""
    model = nano('glipv2-nano')
    start = dict(type='Pretrained', checkpoint='swin.pth')
    config = {**model.config, 'backbone': {**model.config['backbone'], 'init_cfg': start}}
    save_pretrained(model.model, config, model.pipeline, tmp_path / 'again')
    read = GLIPv2Inferencer(tmp_path / 'again', device='cpu')
    image = np.full((64, 64, 3), 90, np.uint8)
    first, second = (one.detect(image, 'star', threshold=0.0) for one in (model, read))
    assert np.array_equal(first.scores, second.scores)


# ---- configs are code


def test_tools_say_so_of_a_config_from_elsewhere(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(model_names, 'print_log', lambda text, **_: told.append(text))
    project, elsewhere = tmp_path / 'project', tmp_path / 'downloads'
    for folder in (project, elsewhere):
        folder.mkdir()
        (folder / 'config.py').write_text('model = dict()\n')
    monkeypatch.chdir(project)
    train = load_tool('train')
    for config in (str(model_names.config_of('glipv2-nano')), 'config.py', str(elsewhere / 'config.py')):
        train.build_config(train.parse_args([config]))
    assert told == [f'{elsewhere / "config.py"} is Python code and is run; use configs that you trust.']


def test_commands_say_so_of_any_config_of_others(tmp_path, capsys):
    config = tmp_path / 'config.py'
    config.write_text('model = dict(type="ATSS")\n')
    for command in (
        ['detect', 'a.jpg', 'cat', '--model', str(config)],
        ['demo', '--detect', str(config)],
        ['export', '--model', str(config), '--out', str(tmp_path)],
    ):
        assert glipv2(command) == 2
        assert f'{config} is Python code and is run' in capsys.readouterr().err, command
