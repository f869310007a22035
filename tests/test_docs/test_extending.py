"""docs/extending.md: its blocks, run in order, add a data set, a head and an encoder and take a step."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from mmdet.registry import DATASETS, MODELS

from tests.test_docs.snippets import ROOT, snippets_of


def test_the_worked_example_takes_a_step(tmp_path, monkeypatch, capsys):
    images = tmp_path / 'my_data/images'
    images.mkdir(parents=True)
    lines = ['image,x1,y1,x2,y2,name', 'a.png,10,20,90,100,cup', 'a.png,60,60,120,120,mug', 'b.png,30,30,100,90,mug']
    (tmp_path / 'my_data/boxes.csv').write_text('\n'.join(lines) + '\n')
    for name in 'ab':
        cv2.imwrite(str(images / f'{name}.png'), np.random.default_rng(0).integers(0, 255, (128, 160, 3), np.uint8))
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {}
    try:
        for snippet in snippets_of(ROOT / 'docs/extending.md'):
            exec(compile(snippet.text, f'{snippet.page}:{snippet.line}', 'exec'), names)
    finally:  # other tests shall not find these names
        for registry, name in ((DATASETS, 'CsvBoxes'), (MODELS, 'RegionCountHead'), (MODELS, 'TinyConvs')):
            registry._module_dict.pop(name, None)
    samples, model = names['samples'], names['model']
    assert len(samples) == 2 and set(samples[0]['data_samples'].prompt.names) == {'cup', 'mug'}
    assert set(names['losses']) == {'loss_cls', 'loss_bbox', 'loss_centerness', 'loss_count'}
    assert names['losses']['loss_count'] > 0
    assert model.backbone.stem[0].weight.grad.abs().sum() > 0
    assert 'loss_count' in capsys.readouterr().out
