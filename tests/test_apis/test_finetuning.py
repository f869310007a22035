"""Your own data in one call: few images, one prompt, figures, and files that mmdet's inference API takes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image, ImageDraw

from glipv2_mmdet.apis.finetuning import FinetuneResult, evaluate_base, finetune, result_table
from glipv2_mmdet.apis.finetuning_config import FinetuneSettings, base_config, read_overrides, training_config
from glipv2_mmdet.datasets.own_data import OwnDataError, prepare_own_data
from glipv2_mmdet.engine.work_folder_lock import hold_folder
from glipv2_mmdet.models import GLIPv2, TunedPromptError
from glipv2_mmdet.text import PromptError

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = ('red box', 'blue box')


@pytest.fixture(scope='module')
def data_folder(tmp_path_factory) -> Path:
    """Six images of 96 pixels with a red or a blue box; four to train on."""
    folder = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for split, number in (('train', 4), ('valid', 2)):
        images, boxes = [], []
        (folder / split).mkdir()
        for k in range(number):
            x, y = (int(v) for v in rng.integers(5, 40, size=2))
            image = Image.new('RGB', (96, 96), 'white')
            ImageDraw.Draw(image).rectangle([x, y, x + 39, y + 39], fill=('red', 'blue')[k % 2])
            image.save(folder / split / f'{k}.png')
            images.append(dict(id=k, file_name=f'{k}.png', width=96, height=96))
            boxes.append(dict(id=k, image_id=k, category_id=k % 2 + 1, bbox=[x, y, 40, 40], area=1600, iscrowd=0))
        content = dict(
            images=images,
            annotations=boxes,
            categories=[
                dict(id=0, name='boxes', supercategory='none'),
                *(dict(id=k, name=name, supercategory='boxes') for k, name in enumerate(CLASSES, start=1)),
            ],
        )
        (folder / split / '_annotations.coco.json').write_text(json.dumps(content))
    return folder


@pytest.fixture(scope='module')
def base(tmp_path_factory) -> tuple[str, str]:
    """Config and weights of a nano model that nobody has trained."""
    folder = tmp_path_factory.mktemp('base')
    config = Config.fromfile(REPOSITORY / 'configs/glipv2/glipv2_nano_shapes_pretrain.py')
    config.merge_from_dict({'model.backbone.depths': (1, 1, 1, 1), 'model.test_cfg.score_thr': 0.0})
    config.dump(str(folder / 'nano.py'))
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), folder / 'nano.pth')
    return str(folder / 'nano.py'), str(folder / 'nano.pth')


@pytest.fixture(scope='module')
def data(data_folder, tmp_path_factory):
    return prepare_own_data(data_folder, tmp_path_factory.mktemp('prepared'))


def settings(base, work_dir, **changes) -> FinetuneSettings:
    config, weights = base
    return FinetuneSettings(
        **{
            **dict(
                config=config,
                base=weights,
                work_dir=str(work_dir),
                shots=1,
                steps=2,
                evaluations=1,
                batch_size=2,
                num_pictures=1,
            ),
            **changes,
        }
    )


@pytest.mark.slow
def test_a_prompt_is_tuned_and_found_again(base, data, data_folder, tmp_path):
    wanted = settings(base, tmp_path)
    before = evaluate_base(wanted, data)
    result = finetune(wanted, data, before)

    run_dir = tmp_path / 'prompt_1shot_seed3'
    content = json.loads((run_dir / 'result.json').read_text())
    assert (content['mode'], content['shots'], content['seed'], content['split']) == ('prompt', 1, 3, 'valid')
    assert content['ap_before'] == before['coco/bbox_mAP'] and 0 <= content['ap'] <= content['ap50'] <= 1
    # [CLS] red box . blue box [SEP], 96 channels
    assert content['trained_parameters'] == 7 * 96 and 0 < content['trained_share'] < 0.005
    assert content['steps'] == 2 and content['classes'] == list(CLASSES)
    assert not list(run_dir.glob('*.pth'))
    (picture,) = map(Image.open, (run_dir / 'pictures').glob('*.png'))
    scene = Image.open(data_folder / 'valid/0.png')
    # enlarged, with the class names below
    scale = round(640 / max(scene.size))
    assert picture.width == scale * scene.width and picture.height > scale * scene.height

    # the config of the run with the base weights is the tuned model
    model = init_detector(str(run_dir / 'config.py'), base[1], device='cpu', palette='random')
    image = str(data_folder / 'valid/0.png')
    found = inference_detector(model, image)
    assert set(found.pred_instances.label_names) <= set(CLASSES)
    same = inference_detector(model, image, text_prompt='red box . blue box', custom_entities=True)
    assert torch.equal(found.pred_instances.scores, same.pred_instances.scores)
    with pytest.raises(TunedPromptError, match="only asked for: 'dog'"):
        inference_detector(model, image, text_prompt='dog', custom_entities=True)
    # the same by hand
    plain = init_detector(base[0], base[1], device='cpu', palette='random')
    plain.set_prompt(result.file)
    assert torch.equal(inference_detector(plain, image).pred_instances.scores, found.pred_instances.scores)

    with pytest.raises(FileExistsError, match='has a finished run'):
        finetune(wanted, data, before)
    assert finetune(wanted, data, before, resume=True) == result


@pytest.mark.slow
def test_an_unfinished_run_goes_on_where_it_was_stopped(base, data, tmp_path, monkeypatch):
    wanted = settings(base, tmp_path, num_pictures=0)
    before = {'coco/bbox_mAP': 0.0, 'coco/bbox_mAP_50': 0.0}
    steps = []
    loss = GLIPv2.loss
    monkeypatch.setattr(GLIPv2, 'loss', lambda *args: steps.append(1) or loss(*args))
    with monkeypatch.context() as stopped:
        stopped.setattr('glipv2_mmdet.apis.finetuning._keep_best', lambda *_: (_ for _ in ()).throw(OSError('stopped')))
        with pytest.raises(OSError, match='stopped'):
            finetune(wanted, data, before)
    assert len(steps) == 2 and not (wanted.run_dir / 'result.json').exists()
    # both steps are in its checkpoint, so none is repeated
    assert finetune(wanted, data, before, resume=True).steps == 2 and len(steps) == 2


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['head', 'full'])
def test_weights_are_tuned_and_load(mode, base, data, data_folder, tmp_path):
    result = finetune(settings(base, tmp_path, mode=mode), data, evaluate_base(settings(base, tmp_path), data))
    model = init_detector(str(Path(result.file).with_name('config.py')), result.file, device='cpu', palette='random')
    assert inference_detector(
        model, str(data_folder / 'valid/0.png'), text_prompt='red box . blue box', custom_entities=True
    ).pred_instances.label_names
    old, new = (torch.load(file, weights_only=True)['state_dict'] for file in (base[1], result.file))
    changed = {name.split('.')[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == (
        {'bbox_head'} if mode == 'head' else {'backbone', 'language_model', 'neck', 'fusion', 'bbox_head'}
    )


def test_a_run_reads_classes_words_and_recipe_from_its_settings(base, data, tmp_path):
    overrides = {'red box': {'name': 'crate', 'prefix': 'a red '}}
    prompt = training_config(settings(base, tmp_path, shots=3, seed=30, overrides=overrides), data)
    assert prompt.model.prompt_tuning == dict(type='PromptTuning', classes=CLASSES, overrides=overrides)
    assert prompt.model.init_cfg.checkpoint == base[1]
    assert (prompt.optim_wrapper.optimizer.lr, prompt.optim_wrapper.optimizer.weight_decay) == (0.05, 0.25)
    dataset = prompt.train_dataloader.dataset
    assert (dataset.type, dataset.shots, dataset.seed) == ('FewShotDataset', 3, 30)
    assert dataset.dataset.caption_prompt == overrides and dataset.dataset.metainfo.classes == CLASSES
    steps = [step.type for step in dataset.dataset.pipeline]
    assert 'BuildPrompt' not in steps and 'text' in dataset.dataset.pipeline[-1].meta_keys
    head = training_config(settings(base, tmp_path, mode='head', shots=None), data)
    assert head.model.frozen_parts == ('backbone', 'language_model', 'neck', 'fusion')
    assert [step.sample for step in head.train_dataloader.dataset.dataset.pipeline if step.type == 'BuildPrompt'] == [
        False
    ]
    assert head.train_cfg.max_iters == 2 and head.model.prompt_tuning is None
    assert base_config(settings(base, tmp_path), data).model.tuned_prompt is None


def test_words_for_classes_are_read_and_checked(tmp_path):
    file = tmp_path / 'words.json'
    file.write_text('{"CoW": "flat mushroom", "hand": {"name": "hand", "suffix": " of a person"}}')
    assert read_overrides(file, ('CoW', 'hand')) == {
        'CoW': {'name': 'flat mushroom'},
        'hand': {'name': 'hand', 'suffix': ' of a person'},
    }
    with pytest.raises(PromptError, match=r'words for "hand", which is no class of the data \(CoW\)'):
        read_overrides(file, ('CoW',))
    file.write_text('{"CoW": {"nmae": "x"}}')
    with pytest.raises(PromptError, match='nmae'):
        read_overrides(file, ('CoW',))
    file.write_text('["CoW"]')
    with pytest.raises(PromptError, match='expected an object'):
        read_overrides(file, ('CoW',))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(mode='all'), 'mode is "all"; expected one of prompt, head, full'),
        (dict(shots=0), 'shots is 0'),
        (dict(steps=0), 'steps is 0'),
        (dict(workers=-1), 'workers is -1; expected 0 or more'),
    ],
)
def test_settings_out_of_range_are_refused(base, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        settings(base, tmp_path, **change)


def test_the_table_has_mean_and_deviation_over_seeds():
    def run(shots, seed, ap):
        return FinetuneResult('prompt', shots, seed, 0.1, 0.2, ap, 2 * ap, 'test', 0.001, 100, 60, 12.0, 'x', ('cat',))

    lines = result_table([run(1, 3, 0.2), run(1, 30, 0.4), run(None, 3, 0.5)]).splitlines()
    assert lines[1].split() == [
        'prompt',
        '1',
        '2',
        '0.100',
        '0.300',
        '±',
        '0.141',
        '0.600',
        '±',
        '0.283',
        '0.100%',
        '12',
    ]
    assert lines[2].split() == ['prompt', 'all', '1', '0.100', '0.500', '1.000', '0.100%', '12']


@pytest.mark.slow
def test_the_command_runs_shots_and_seeds_in_one_process(base, data_folder, tmp_path):
    command = [
        sys.executable,
        str(REPOSITORY / 'tools/finetune.py'),
        '--data',
        str(data_folder),
        '--config',
        base[0],
        '--base',
        base[1],
        '--modes',
        'prompt',
        '--shots',
        '1',
        'all',
        '--seeds',
        '3',
        '30',
        '--steps',
        '1',
        '--evaluations',
        '1',
        '--pictures',
        '0',
        '--work-dir',
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[:3] for line in done.stdout.splitlines()[-2:]]
    assert rows == [['prompt', '1', '2'], ['prompt', 'all', '2']]
    results = json.loads((tmp_path / 'results.json').read_text())
    assert [(result['shots'], result['seed']) for result in results] == [(1, 3), (1, 30), (None, 3), (None, 30)]


def test_the_command_names_what_is_wrong(base, data_folder, tmp_path, capsys):
    from tools.finetune import main

    arguments = ['--data', str(data_folder), '--config', base[0], '--base', base[1], '--work-dir', str(tmp_path)]
    (tmp_path / 'words.json').write_text('{"dog": "cat"}')
    assert main([*arguments, '--prompts', str(tmp_path / 'words.json')]) == 2
    assert 'finetune: ' in (error := capsys.readouterr().err) and '"dog", which is no class of the data' in error
    assert main([*arguments, '--data', str(tmp_path)]) == 2
    assert 'no known layout' in capsys.readouterr().err


def test_the_command_refuses_a_folder_in_use(base, data_folder, tmp_path, capsys):
    from tools.finetune import main

    arguments = ['--data', str(data_folder), '--config', base[0], '--base', base[1], '--work-dir', str(tmp_path)]
    with hold_folder(tmp_path):
        before = sorted(tmp_path.iterdir())
        assert main(arguments) == 2
        assert sorted(tmp_path.iterdir()) == before
    assert capsys.readouterr().err.startswith(f'finetune: {tmp_path} is in use by process ')


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['prompt', 'head'])
def test_a_base_that_finds_nothing_is_tuned_from_zero(mode, base, data, tmp_path):
    config = Config.fromfile(base[0])
    config.model.test_cfg.score_thr = 1.0  # no box scores more
    config.dump(str(tmp_path / 'silent.py'))
    wanted = settings((str(tmp_path / 'silent.py'), base[1]), tmp_path / 'runs', mode=mode)
    before = evaluate_base(wanted, data)
    assert (before['coco/bbox_mAP'], before['coco/bbox_mAP_50']) == (0.0, 0.0)
    result = finetune(wanted, data, before)
    assert (result.ap_before, result.ap, result.ap50, result.steps) == (0.0, 0.0, 0.0, 2)
    assert Path(result.file).is_file()


def test_a_split_of_crowds_is_refused_before_anything_is_built(base, data, tmp_path):
    content = json.loads(data.ann_files['valid'].read_text())
    for box in content['annotations']:
        box['iscrowd'] = 1
    crowds = tmp_path / 'valid.json'
    crowds.write_text(json.dumps(content))
    changed = replace(data, ann_files={**data.ann_files, 'valid': crowds})
    with pytest.raises(OwnDataError, match='The valid split has 2 boxes, and none of them counts: AP leaves out'):
        evaluate_base(settings(base, tmp_path), changed)
