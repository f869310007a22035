"""Every shipped config is read and its model built."""

import pytest
from mmengine.config import Config

from tests.test_configs.reading import CONFIGS, build_on_meta, read_config

RUNNABLE = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


def _name(path):
    return str(path.relative_to(CONFIGS))


@pytest.mark.parametrize('path', RUNNABLE, ids=_name)
def test_a_config_starts_with_its_purpose_and_reads(path):
    assert path.read_text().startswith('# ')
    config = Config.fromfile(path)
    assert config.custom_imports['imports'] == ['glipv2_mmdet']
    checkpoint = config.default_hooks.checkpoint
    assert checkpoint.type == 'DurableCheckpointHook' and checkpoint.max_keep_ckpts >= 2


@pytest.mark.slow
@pytest.mark.parametrize('path', RUNNABLE, ids=_name)
def test_a_config_builds_its_model(path, clip_vocab):
    model = build_on_meta(read_config(path, clip_vocab))
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e5
