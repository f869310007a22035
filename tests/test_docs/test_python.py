"""Python blocks of README and docs: all compile, and the short ones run on a network with random weights."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from tests.test_docs.snippets import ROOT, pages, snippets_of

PYTHON = [snippet for page in pages() for snippet in snippets_of(page) if snippet.kind == 'python']
THREE_LINES = [
    snippet
    for snippet in PYTHON
    if 'work_dirs/quickstart/iter_2600.pth' in snippet.text
    and 'inference_detector(model' in snippet.text
    and 'finetune' not in snippet.text
]


@pytest.mark.parametrize('snippet', PYTHON, ids=lambda snippet: f'{snippet.page}:{snippet.line}')
def test_each_block_compiles(snippet):
    compile(snippet.text, f'{snippet.page}:{snippet.line}', 'exec')


@pytest.mark.parametrize('snippet', THREE_LINES, ids=lambda snippet: f'{snippet.page}:{snippet.line}')
def test_the_three_lines_run(snippet, shapes_dir, tmp_path, capsys):
    torch.manual_seed(0)
    config = ROOT / 'configs/glipv2/glipv2_nano_shapes_pretrain.py'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(config).model).state_dict(), meta={}), tmp_path / 'a.pth')
    text = snippet.text
    for written, here in (
        ('work_dirs/quickstart/iter_2600.pth', tmp_path / 'a.pth'),
        ('data/shapes', shapes_dir),
        ('configs/', f'{ROOT}/configs/'),
    ):
        text = text.replace(written, str(here))
    names = {}
    exec(compile(text, f'{snippet.page}:{snippet.line}', 'exec'), names)
    found = names['result'].pred_instances
    assert len(found.label_names) == len(found.scores) and capsys.readouterr().out
