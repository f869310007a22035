"""A picture per image of a test, whatever the images are called."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from PIL import Image

from glipv2_mmdet.engine.hooks import PictureHook
from glipv2_mmdet.visualization import GLIPv2Visualizer
from glipv2_mmdet.visualization.picture_names import claim_in, free_name

ROOT = Path(__file__).resolve().parents[2]
GRAYS = (10, 90, 170, 250)


@pytest.fixture
def samples(tmp_path):
    """Four images ``0/frame.png`` ... ``3/frame.png`` of another gray each."""
    found = []
    for number, gray in enumerate(GRAYS):
        path = tmp_path / str(number) / 'frame.png'
        path.parent.mkdir()
        Image.new('RGB', (700, 700), (gray,) * 3).save(path)
        sample = DetDataSample(metainfo=dict(img_path=str(path)))
        sample.pred_instances = InstanceData(
            bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long)
        )
        found.append(sample)
    return found


def make_hook(name):
    visualizer = GLIPv2Visualizer.get_instance(name, vis_backends=None)
    visualizer.dataset_meta = dict(classes=('cat',), palette='random')
    return PictureHook(draw=True, test_out_dir='painted')


@pytest.mark.parametrize('relative', [True, False])
def test_four_images_of_one_name_are_four_pictures(samples, tmp_path, monkeypatch, caplog, relative):
    monkeypatch.chdir(tmp_path)
    hook = make_hook(f'pictures_{relative}')
    runner = SimpleNamespace(
        work_dir='run' if relative else str(tmp_path / 'run'), timestamp='now', logger=logging.getLogger('pictures')
    )
    with caplog.at_level(logging.INFO, logger='pictures'):
        for number in (0, 2):  # batches of two
            hook.after_test_iter(runner, number // 2, {}, samples[number : number + 2])
    folder = tmp_path / 'run/now/painted'
    names = ['frame.png', 'frame_2.png', 'frame_3.png', 'frame_4.png']
    assert sorted(path.name for path in folder.iterdir()) == names
    assert [int(np.asarray(Image.open(folder / name))[5, 5, 0]) for name in names] == list(GRAYS)
    assert [record.message.split('painted/')[1] for record in caplog.records] == [
        f'frame_{k + 1}.png is the picture of {samples[k].img_path}.' for k in (1, 2, 3)
    ]
    assert sorted(path.name for path in (tmp_path / 'run').iterdir()) == ['now']  # nothing is nested


def test_a_hook_that_does_not_draw_writes_nothing(samples, tmp_path):
    make_hook('pictures_off')
    runner = SimpleNamespace(work_dir=str(tmp_path / 'run'), timestamp='now', logger=logging.getLogger('pictures'))
    PictureHook(test_out_dir='painted').after_test_iter(runner, 0, {}, samples)
    assert not (tmp_path / 'run').exists()


def test_names_are_claimed_once(tmp_path):
    claims = [claim_in(tmp_path) for _ in range(2)]  # as two processes have one each
    assert [free_name('a/x.jpg', '.png', claims[k % 2]) for k in range(4)] == ['x.png', 'x_2.png', 'x_3.png', 'x_4.png']


def test_every_recipe_has_it():
    config = Config.fromfile(ROOT / 'configs/_base_/runtime.py')
    assert config.default_hooks.visualization.type == 'PictureHook'
