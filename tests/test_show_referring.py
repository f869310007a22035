"""tools/show_referring.py: one picture per phrase."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from tools import show_referring

CONFIG = 'configs/glipv2/glipv2_nano_shapes_referring.py'


@pytest.mark.slow
def test_a_picture_per_phrase_for_one_and_for_several_objects(shapes_dir, tmp_path, capsys):
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(CONFIG).model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'random.pth')
    show_referring.main(
        [
            CONFIG,
            str(tmp_path / 'random.pth'),
            '--out',
            str(tmp_path / 'pictures'),
            '--count',
            '2',
            '--cfg-options',
            f'test_dataloader.dataset.data_root={shapes_dir}',
        ]
    )
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 2
    said = capsys.readouterr().out
    assert said.count('IoU') == 2 and ', 1 objects' in said


def test_found_pixels_are_tinted_and_the_expected_outlined():
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:20, 10:20] = True
    picture = show_referring.paint(np.zeros((40, 40, 3), dtype=np.uint8), mask, mask, 'it')
    scale = show_referring.SIDE // 40
    inside, outside = (picture[show_referring.BAR + place * scale, place * scale] for place in (15, 5))
    assert inside.tolist() == [round(0.45 * value) for value in show_referring.COLOUR] and not outside.any()
    assert (cv2.cvtColor(picture[show_referring.BAR :], cv2.COLOR_BGR2GRAY) == 255).any()
