"""Fixtures and settings of the whole suite."""

import os
from pathlib import Path

import pytest
import torch

import glipv2_mmdet  # noqa: F401  (before anything imports mmdet)

# isort: split
from mmdet.utils import register_all_modules
from mmengine.registry import DefaultScope, init_default_scope

from tests.shapes_fixture import shapes_dir  # noqa: F401  (a fixture for every test file)

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    # tests are many and small; more threads than cores only slow them down
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
    register_all_modules(init_default_scope=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    # a test that builds a Runner leaves the Runner's scope behind, where no name of mmdet is found
    if DefaultScope.get_current_instance().scope_name != 'mmdet':
        init_default_scope('mmdet')


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """The folder of shared fixtures (parity numbers, small real data): GLIPV2_SHARED, or 'shared' beside the
    repository. Tests that need it are skipped where it is missing, unless GLIPV2_REQUIRE_SHARED=1."""
    folder = Path(os.environ.get('GLIPV2_SHARED', REPOSITORY.parent / 'shared'))
    if folder.is_dir():
        return folder
    reason = f'no shared fixtures in {folder}; set GLIPV2_SHARED to their folder'
    if os.environ.get('GLIPV2_REQUIRE_SHARED') == '1':
        pytest.fail(f'{reason} (GLIPV2_REQUIRE_SHARED=1 makes this a failure)')
    pytest.skip(reason)
