"""A small rendering of the embedded data set, made once per test session."""

from pathlib import Path

import pytest

from glipv2_mmdet.datasets.shapes import make_shapes

SIZES = {'train': 24, 'val': 8, 'zero_shot': 8}


@pytest.fixture(scope='session')
def shapes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 24 train, 8 val and 8 zero-shot scenes; read only, shared by all tests."""
    return make_shapes(tmp_path_factory.mktemp('data') / 'shapes', **SIZES, seed=0)
