"""save_pretrained: a folder that gives the same numbers, and that can neither run code nor reach other files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.apis.model_loading import inference_parts
from glipv2_mmdet.apis.pretrained import save_pretrained
from glipv2_mmdet.checkpoints import CheckpointError
from tests import tiny_clip
from tests.test_apis.conftest import nano_config

LOW = dict(threshold=0.0, max_boxes=20)


@pytest.fixture(scope='module')
def folder(nano, tmp_path_factory):
    place = tmp_path_factory.mktemp('saved') / 'nano'
    nano('glipv2-nano').save_pretrained(place)
    return place


@pytest.fixture
def changed(folder, tmp_path):
    """A copy whose config.json can be tampered with."""
    copy = shutil.copytree(folder, tmp_path / 'copy')

    def change(edit):
        content = json.loads((copy / 'config.json').read_text())
        edit(content)
        (copy / 'config.json').write_text(json.dumps(content))
        return copy

    return change


def test_a_folder_is_complete_and_needs_nothing_else(folder, nano, tmp_path, scenes):
    assert sorted(file.name for file in folder.iterdir()) == [
        'README.md',
        'bert_base_uncased_vocab.txt',
        'config.json',
        'model.safetensors',
    ]
    moved = GLIPv2Inferencer(shutil.copytree(folder, tmp_path / 'elsewhere'), device='cpu')
    original = nano('glipv2-nano')
    for name, tensor in original.model.state_dict().items():
        assert torch.equal(moved.model.state_dict()[name], tensor), name
    assert moved.model.state_dict().keys() == original.model.state_dict().keys()
    first, second = (model.detect(scenes[0], 'red circle . star', **LOW) for model in (original, moved))
    assert np.array_equal(first.boxes, second.boxes) and np.array_equal(first.scores, second.scores)


def test_what_was_read_is_written_the_same_again(folder, tmp_path):
    GLIPv2Inferencer.from_pretrained(folder, device='cpu').save_pretrained(tmp_path / 'again')
    for file in folder.iterdir():
        assert (tmp_path / 'again' / file.name).read_bytes() == file.read_bytes(), file.name


def test_tuples_of_a_config_stay_tuples(folder, nano):
    read = GLIPv2Inferencer(str(folder), device='cpu')
    assert [dict(step) for step in read.pipeline] == [dict(step) for step in nano('glipv2-nano').pipeline]
    assert isinstance(read.pipeline[1]['scale'], tuple)


@pytest.mark.parametrize('name', ['glipv2-nano-vqa', 'glipv2-nano-mask', 'glipv2-nano-grounded-caption'])
def test_models_of_every_task_survive(nano, tmp_path, scenes, name):
    original = nano(name)
    original.save_pretrained(tmp_path / 'saved')
    read = GLIPv2Inferencer(tmp_path / 'saved', device='cpu')
    calls = {
        'vqa': lambda model: model.ask(scenes[0], 'how many stars are there?').to_dict(),
        'mask': lambda model: model.segment(scenes[0], 'star', threshold=0.0, max_boxes=3).to_dict(),
        'caption': lambda model: model.caption(scenes[0], max_words=4, **LOW).to_dict(),
    }
    call = calls[name.split('-')[-1]]
    assert call(read) == call(original)


def test_a_vocabulary_folder_travels_along(tmp_path):
    vocab = tiny_clip.write_folder(tmp_path / 'clip')
    sizes = dict(
        vocab_size=tiny_clip.VOCAB_SIZE,
        hidden_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=96,
    )
    (tmp_path / 'clip' / 'config.json').write_text(json.dumps(sizes))
    config = nano_config('glipv2-nano', **{'model.fusion.text_layer': 'clip'})
    config.model.language_model = dict(type='CLIPTextEncoder', vocab=vocab, config=vocab, max_tokens=32)
    original = GLIPv2Inferencer(config, device='cpu')
    original.save_pretrained(tmp_path / 'saved')
    shutil.rmtree(tmp_path / 'clip')
    read = GLIPv2Inferencer(tmp_path / 'saved', device='cpu')
    first, second = (
        model.detect(np.full((64, 64, 3), 90, np.uint8), 'red car . dog', **LOW) for model in (original, read)
    )
    assert np.array_equal(first.scores, second.scores) and len(second) > 0


def test_files_of_others_are_not_written_over(nano, tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(FileExistsError, match='not empty'):
        nano('glipv2-nano').save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ['thesis.tex']


def test_a_failure_leaves_nothing_behind(nano, tmp_path):
    model = nano('glipv2-nano')
    with pytest.raises(CheckpointError, match=r'json cannot hold'):
        save_pretrained(model.model, {**model.config, 'extra': object()}, model.pipeline, tmp_path / 'saved')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('type_name', ['os.system', 'builtins.exec', 'mmdet.os.system', 'antigravity', 'Pretrained', 7])
def test_types_that_are_no_component_are_refused_before_anything_is_built(changed, type_name):
    def edit(content):
        content['model']['backbone'] = dict(type=type_name, command='touch /tmp/never')

    with pytest.raises(CheckpointError, match='asks for a component'):
        GLIPv2Inferencer(changed(edit), device='cpu')


def test_suppression_and_steps_are_checked_too(changed):
    def nms(content):
        content['model']['test_cfg']['nms'] = dict(type='__import__("os").abort()', iou_threshold=0.5)

    def step(content):
        content['pipeline'].insert(0, dict(type='subprocess.Popen', args=['true']))

    for edit in (nms, step):
        with pytest.raises(CheckpointError, match='asks for a component'):
            GLIPv2Inferencer(changed(edit), device='cpu')


@pytest.mark.parametrize('name', ['/etc/hostname', '../vocab.txt', '..', 'gone.txt', 3])
def test_files_outside_the_folder_are_refused(changed, name):
    def edit(content):
        content['model']['language_model']['vocab'] = {'__file__': name}

    with pytest.raises(CheckpointError, match='not in the folder'):
        GLIPv2Inferencer(changed(edit), device='cpu')


def test_damaged_folders_say_what_is_wrong(folder, changed, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no folder of a model.*config\.json'):
        GLIPv2Inferencer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match='was not written by save_pretrained'):
        GLIPv2Inferencer(changed(lambda content: content.pop('format')), device='cpu')
    copy = changed(lambda content: content.update(format='glipv2_mmdet'))
    weights = load_file(copy / 'model.safetensors')
    lost = next(name for name in weights if name.startswith('neck'))
    save_file({name: tensor for name, tensor in weights.items() if name != lost}, copy / 'model.safetensors')
    with pytest.raises(CheckpointError, match=f'1 tensor the checkpoint lacks: "{lost}"'):
        GLIPv2Inferencer(copy, device='cpu')
    (copy / 'model.safetensors').unlink()
    with pytest.raises(CheckpointError, match=r'no model\.safetensors'):
        GLIPv2Inferencer(copy, device='cpu')
    (copy / 'config.json').write_text('{"format": ')
    with pytest.raises(CheckpointError, match='is no json'):
        GLIPv2Inferencer(copy, device='cpu')


def test_no_path_of_this_machine_is_in_the_folder(folder, shapes_dir):
    text = (folder / 'config.json').read_text()
    assert str(shapes_dir.parent) not in text and str(folder.parent) not in text
    parts, _ = inference_parts(nano_config('glipv2-nano'))
    assert json.loads(text)['model']['type'] == parts['type']
