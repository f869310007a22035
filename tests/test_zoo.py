"""The model zoo: its index against the configs, what a built package carries, and configs that inherit from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mmdet
import mmengine.registry as mmengine_registry
import pytest
import yaml
from mmengine.config import config as mmengine_config

import glipv2_mmdet.registry as own_registry
from glipv2_mmdet.compat.config_package import offer_configs

ROOT = Path(__file__).resolve().parents[1]
ZOO = yaml.safe_load((ROOT / 'configs/glipv2/metafile.yml').read_text())
MARK = ' (paper)'


def test_the_index_names_files_that_are_there():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert all((ROOT / file).is_file() for file in index['Import']) and len(index['Import']) == 1
    for collection in ZOO['Collections']:
        assert (ROOT / collection['README']).is_file()


def test_every_config_is_listed_once_under_a_name_of_its_own():
    listed = [model['Config'] for model in ZOO['Models']]
    there = {str(path.relative_to(ROOT)) for path in (ROOT / 'configs/glipv2').rglob('*.py')}
    assert sorted(listed) == sorted(there)
    names = [model['Name'] for model in ZOO['Models']]
    assert len(set(names)) == len(names)
    assert {model['In Collection'] for model in ZOO['Models']} == {part['Name'] for part in ZOO['Collections']}


def test_figures_of_full_scale_are_marked_as_the_papers_and_no_weights_are_promised():
    for model in ZOO['Models']:
        assert 'Weights' not in model
        measured_here = '_nano_' in model['Config'] or '_mini_' in model['Config']
        for result in model.get('Results', ()):
            assert all(name.endswith(MARK) != measured_here for name in result['Metrics']), model['Name']


def test_the_readme_has_the_figures_of_the_index():
    readme = (ROOT / 'configs/glipv2/README.md').read_text()
    for model in ZOO['Models']:
        for result in model.get('Results', ()):
            for value in result['Metrics'].values():
                assert f'{value:.1f}' in readme, (model['Name'], value)


def test_components_are_found_in_the_scope_of_this_package():
    for name in ('MODELS', 'DATASETS', 'HOOKS', 'METRICS', 'TRANSFORMS', 'VISUALIZERS', 'LOOPS', 'RUNNERS'):
        assert getattr(own_registry, name).scope == 'glipv2_mmdet'
    with mmengine_registry.MODELS.switch_scope_and_registry('glipv2_mmdet') as models:
        assert models is own_registry.MODELS
        assert models.get('GLIPv2').__name__ == 'GLIPv2' and models.get('FPN').__module__.startswith('mmdet.')
    assert own_registry.HOOKS.get('MetricsLoggerHook').__module__.startswith('glipv2_mmdet.')
    assert own_registry.HOOKS.get('CheckpointHook').__module__.startswith('mmengine.')


OWN_CONFIG = (
    "_base_ = 'glipv2_mmdet::glipv2/glipv2_nano_shapes_pretrain.py'\n"
    'model = dict(bbox_head=dict(init_log_scale=-2.0))\n'
)
OWN_PROJECT = """
import glipv2_mmdet
import mmengine.registry
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config

cfg = Config.fromfile('mine.py')
assert cfg.model['_scope_'] == 'glipv2_mmdet', cfg.model
model = MODELS.build(cfg.model)
assert model.bbox_head.log_scale.item() == -2.0 and type(model.neck).__name__ == 'FPN'
hook = mmengine.registry.HOOKS.build(cfg.default_hooks.logger)  # the runner asks mmengine's registry
assert type(hook).__name__ == 'MetricsLoggerHook'
assert get_config('glipv2_mmdet::glipv2/glipv2_nano_shapes_pretrain.py').model.type == 'GLIPv2'
print(glipv2_mmdet.__file__)
"""


@pytest.fixture
def installed(tmp_path) -> Path:
    """This package in a folder of its own, with what an editable install links beside it."""
    package = tmp_path / 'elsewhere/glipv2_mmdet'
    shutil.copytree(ROOT / 'glipv2_mmdet', package, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    (package / '.mim').mkdir()
    for name in ('configs', 'tools', 'model-index.yml'):
        (package / '.mim' / name).symlink_to(ROOT / name)
    return package


def in_own_project(folder: Path, package: Path) -> subprocess.CompletedProcess:
    """Runs the code of another project in its folder, with nothing replaced in mmengine."""
    folder.mkdir()
    (folder / 'mine.py').write_text(OWN_CONFIG)
    (folder / 'project.py').write_text(OWN_PROJECT)
    return subprocess.run(
        [sys.executable, 'project.py'],
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=str(package.parent), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_a_config_of_ones_own_project_inherits_from_the_package(tmp_path, installed):
    done = in_own_project(tmp_path / 'project', installed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(str(installed / '__init__.py'))
    offer_configs()
    offer_configs()  # a second call changes nothing
    assert not hasattr(mmengine_config.get_installed_path.__wrapped__, '__wrapped__')
    assert Path(mmengine_config.get_installed_path('mmdet')).samefile(Path(mmdet.__file__).parent)


@pytest.mark.slow
def test_a_package_without_its_configs_says_how_to_install_them(tmp_path, installed):
    shutil.rmtree(installed / '.mim')
    done = in_own_project(tmp_path / 'project', installed)
    assert done.returncode == 1
    assert 'The configs of glipv2_mmdet are not in' in done.stderr and 'pip install -e .' in done.stderr


@pytest.mark.slow
def test_a_built_package_carries_what_mim_needs(tmp_path):
    # build_py writes below --build-lib only; egg-info goes beside it
    subprocess.run(
        [
            sys.executable,
            'setup.py',
            '-q',
            'egg_info',
            '--egg-base',
            tmp_path,
            'build_py',
            '--build-lib',
            tmp_path / 'lib',
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    mim = tmp_path / 'lib/glipv2_mmdet/.mim'
    for name in (
        'model-index.yml',
        'tools/train.py',
        'tools/test.py',
        'configs/glipv2/metafile.yml',
        'configs/glipv2/glipv2_t_coco.py',
        'configs/_base_/runtime.py',
    ):
        assert (mim / name).is_file() and not (mim / name).is_symlink(), name
    text = '\n'.join(path.read_text() for path in (mim / 'tools').glob('*.py'))
    assert str(ROOT) not in text
