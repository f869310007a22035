"""mmdet's own tools, run with the plugin in place, on a nano model and the small rendering."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from glipv2_mmdet.run import find_script, main, run_script
from tests.test_apis.conftest import nano_config, write_weights

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def files(tmp_path_factory, shapes_dir) -> dict[str, str]:
    """A config on the small rendering and random weights for it."""
    folder = tmp_path_factory.mktemp('run')
    config = nano_config('glipv2-nano')
    options = {'work_dir': str(folder / 'work')}
    for split in ('train', 'val', 'test'):
        options |= {f'{split}_dataloader.num_workers': 0, f'{split}_dataloader.persistent_workers': False}
    for split in ('val', 'test'):
        options |= {
            f'{split}_dataloader.dataset.data_root': f'{shapes_dir}/',
            f'{split}_evaluator.ann_file': f'{shapes_dir}/annotations/val.json',
        }
    config.merge_from_dict(options)
    config.train_dataloader.dataset = config.val_dataloader.dataset  # what browse_dataset shows
    config.dump(folder / 'nano.py')
    write_weights(config, folder / 'nano.pth')
    return dict(config=str(folder / 'nano.py'), weights=str(folder / 'nano.pth'), folder=str(folder))


@pytest.fixture(scope='module')
def results(files) -> str:
    """Predictions of mmdet's test.py with test-time augmentation."""
    out = f'{files["folder"]}/results.pkl'
    run_script('test.py', [files['config'], files['weights'], '--tta', '--out', out])
    return out


@pytest.mark.slow
def test_test_time_augmentation_reads_the_text_of_every_view(results):
    predictions = pickle.loads(Path(results).read_bytes())
    assert len(predictions) == 8
    for sample in predictions:
        found = sample['pred_instances']
        assert found['bboxes'].shape == (len(found['scores']), 4) and 0 < len(found['scores']) <= 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ('tool', 'written'),
    [('analysis_tools/analyze_results.py', 'good'), ('confusion_matrix', 'confusion_matrix.png')],
)
def test_tools_that_read_predictions(tool, written, files, results, tmp_path):
    run_script(tool, [files['config'], results, str(tmp_path)])
    assert (tmp_path / written).exists()


@pytest.mark.slow
def test_eval_metric_scores_saved_predictions(files, results, capsys):
    run_script('eval_metric', [files['config'], results])
    assert 'coco/bbox_mAP' in capsys.readouterr().out


@pytest.mark.slow
def test_browse_dataset_draws_every_sample(files, tmp_path):
    run_script('analysis_tools/browse_dataset', [files['config'], '--output-dir', str(tmp_path), '--not-show'])
    assert len(list(tmp_path.rglob('*.png'))) + len(list(tmp_path.rglob('*.jpg'))) == 8


@pytest.mark.slow
def test_get_flops_counts(files, capsys):
    run_script('get_flops', [files['config'], '--num-images', '1'])
    text = capsys.readouterr().out
    assert 'Flops: ' in text and 'Params: ' in text


@pytest.mark.slow
def test_publish_model_keeps_the_weights(files, tmp_path):
    run_script('publish_model', [files['weights'], str(tmp_path / 'published.pth')])
    deadline = time.monotonic() + 30
    while not (found := list(tmp_path.glob('published-*.pth'))):  # mmdet renames the file without waiting for it
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (published,) = found
    weights = torch.load(files['weights'], weights_only=True)['state_dict']
    assert torch.load(published, weights_only=True)['state_dict'].keys() == weights.keys()


@pytest.mark.slow
def test_a_script_of_ones_own_runs_in_its_place(tmp_path):
    """In a new process: the plugin comes before mmdet, and the script's folder and arguments are its own."""
    (tmp_path / 'beside.py').write_text('NAME = "beside"')
    (tmp_path / 'own.py').write_text(
        'import sys\nimport beside\nimport mmcv.ops\nfrom mmdet.registry import MODELS\n'
        'print(__name__, sys.argv[1:], beside.NAME, "GLIPv2" in MODELS)\nsys.exit(3)\n'
    )
    done = subprocess.run(
        [sys.executable, '-m', 'glipv2_mmdet.run', str(tmp_path / 'own.py'), '--flag', 'value'],
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "__main__ ['--flag', 'value'] beside True\n", done.stderr
    assert done.returncode == 3


def test_tools_are_found_by_path_name_and_folder(tmp_path):
    flops = find_script('analysis_tools/get_flops.py')
    assert flops == find_script('get_flops') == find_script('tools/analysis_tools/get_flops.py')
    assert flops.parts[-2:] == ('analysis_tools', 'get_flops.py')
    assert find_script('test.py').name == 'test.py' and find_script('train').name == 'train.py'
    own = tmp_path / 'get_flops.py'
    own.touch()
    assert find_script(str(own)) == own


def test_a_script_that_is_not_there_is_said_with_the_nearest(capsys):
    assert main(['get_flop.py']) == 2
    message = capsys.readouterr().err
    assert "There is no script 'get_flop.py'" in message
    assert 'Did you mean analysis_tools/get_flops' in message
    assert main(['browse_dataset']) == 2
    assert (
        "'browse_dataset' is the name of 2 tools. Write one of analysis_tools/browse_dataset,"
        in capsys.readouterr().err
    )
    assert main(['qqqq']) == 2 and 'Give the path of a Python file.' in capsys.readouterr().err
    assert main([]) == 2 and 'python -m glipv2_mmdet.run SCRIPT' in capsys.readouterr().err
    assert main(['--help']) == 0


def test_argv_and_search_path_are_put_back(tmp_path):
    (tmp_path / 'own.py').write_text('import sys\nassert sys.argv[1:] == ["a"]\nraise ValueError("of the script")\n')
    argv, path = list(sys.argv), list(sys.path)
    with pytest.raises(ValueError, match='of the script'):
        run_script(str(tmp_path / 'own.py'), ['a'])
    assert (sys.argv, sys.path) == (argv, path)
