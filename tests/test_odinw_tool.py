"""tools/odinw.py end to end on two made folders, in one process and in two."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from tests.odinw_folders import make_folders
from tests.test_tools import TOOLS, load_tool, run

CONFIG = 'configs/glipv2/glipv2_nano_shapes_zero_shot.py'
OPTIONS = [
    '--set',
    35,
    '--cfg-options',
    'test_dataloader.num_workers=0',
    'test_dataloader.batch_size=1',
    'model.test_cfg.score_thr=0.0',
    'model.test_cfg.nms_pre=50',
]
HIDDEN = dict(CUDA_VISIBLE_DEVICES='')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(CONFIG).model).state_dict(), meta={}), file)
    return file


@pytest.fixture(scope='module')
def root(shapes_dir, tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp('data') / 'odinw', shapes_dir)


def test_a_data_set_goes_under_the_pipeline_of_the_config(root, checkpoint, tmp_path):
    tool = load_tool('odinw')
    args = tool.parse_args([CONFIG, str(checkpoint), '--root', str(root), '--out', str(tmp_path)])
    packages = next(dataset for dataset in tool.odinw_sets(13) if dataset.name == 'Packages')
    ann_file = tmp_path / 'packages.json'
    ann_file.write_text(json.dumps(dict(categories=[dict(id=1, name='package')])))
    cfg = tool.build_config(args, packages, ann_file, 'test')
    data = cfg.test_dataloader.dataset
    assert data.pipeline == Config.fromfile(CONFIG).test_dataloader.dataset.pipeline
    assert data.caption_prompt == {'package': dict(prefix='there is a ', suffix=' on the porch')}
    assert data.metainfo.classes == ('package',) and cfg.test_evaluator.ann_file == data.ann_file == str(ann_file)
    args.without_prompts = True
    assert tool.build_config(args, packages, ann_file, 'test').test_dataloader.dataset.caption_prompt is None


@pytest.mark.slow
def test_what_is_there_is_evaluated_once_and_the_rest_is_named(root, checkpoint, tmp_path):
    command = [sys.executable, TOOLS / 'odinw.py', CONFIG, checkpoint, '--root', root, '--out', tmp_path, *OPTIONS]
    log = run(command, **HIDDEN)
    assert f'Aquarium: not in {root}/Aquarium/Aquarium Combined.v2-raw-1024.coco, skipped' in log
    assert 'over 2 of 35 data sets: not the ODinW-35 figure' in log
    content = json.loads((tmp_path / 'results.json').read_text())
    assert [(row['name'], row['split'], row['images']) for row in content['results']] == [
        ('dice', 'test', 2),
        ('Packages', 'test', 2),
    ]
    assert all(0 <= row['ap'] <= row['ap50'] <= 1 for row in content['results'])
    assert len(content['missing']) == 33 and content['is_complete'] is False
    # RoboFlow's dummy category is gone
    prepared = json.loads((tmp_path / 'annotations/Packages_test.json').read_text())
    assert [category['name'] for category in prepared['categories']] == ['package']

    log = run(command, **HIDDEN)
    assert 'dice: already evaluated' in log and 'Packages: already evaluated' in log
    assert json.loads((tmp_path / 'results.json').read_text()) == content
    tool = load_tool('odinw')
    assert tool.main([str(part) for part in command[2:]] + ['--without-prompts']) == 2


@pytest.mark.distributed
def test_two_processes_give_the_same_table(root, checkpoint, tmp_path):
    options = ['--root', root, *OPTIONS]
    run([sys.executable, TOOLS / 'odinw.py', CONFIG, checkpoint, '--out', tmp_path / 'one', *options], **HIDDEN)
    run(['bash', TOOLS / 'dist_odinw.sh', CONFIG, checkpoint, 2, '--out', tmp_path / 'two', *options], **HIDDEN)
    one, two = (json.loads((tmp_path / name / 'results.json').read_text())['results'] for name in ('one', 'two'))
    assert one == two
