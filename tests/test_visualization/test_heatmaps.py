"""Word heat maps: which words, from which level, at which pixel, on which scale."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image

from glipv2_mmdet.structures import GroundingOutputs
from glipv2_mmdet.text import PromptTokenizer, parse_prompt
from glipv2_mmdet.visualization import WordHeatmaps, draw_word_heatmaps, word_heatmaps
from glipv2_mmdet.visualization.heatmaps import _GAP, _on_image, words_of
from tools import show_heatmaps

CONFIG = 'configs/glipv2/glipv2_nano_shapes_pretrain.py'


def test_words_inside_phrases_have_a_map_and_others_none():
    assert words_of(parse_prompt('red circle . cat', custom_entities=True)).names == ('red', 'circle', 'cat')
    caption = parse_prompt('we see a red cross', tokens_positive=[[[7, 18]]])
    assert words_of(caption).names == ('a', 'red', 'cross')


def test_the_highest_level_wins_and_padding_is_cut_off():
    fine = torch.tensor([0.1, 0.2, 0.3, 0.4])
    scores = torch.cat((fine, torch.tensor([0.25])))[:, None]
    maps = _on_image(scores, ((2, 2), (1, 1)), (16, 16), (8, 16), (8, 16))
    assert maps.shape == (1, 8, 16)
    # the upper half of the fine level is left; at its outer corners only its own values count
    assert maps[0, 0, 0].item() == pytest.approx(0.25) and maps[0, 0, -1].item() == pytest.approx(0.25)
    without_coarse = _on_image(torch.cat((fine, torch.zeros(1)))[:, None], ((2, 2), (1, 1)), (16, 16), (8, 16), (4, 8))
    assert without_coarse.shape == (1, 4, 8)
    assert without_coarse[0, 0, [0, -1]].tolist() == pytest.approx([0.1, 0.2])


def test_a_word_is_hot_where_its_region_is():
    """A stand-in for the detector, in which only the second word matches, and only at one position of stride 8."""
    tokenizer = PromptTokenizer('bert-base-uncased')
    prompt = parse_prompt('cat . remote', custom_entities=True)
    tokens = len(tokenizer(prompt).input_ids)

    class Detector:
        cfg = Config.fromfile(CONFIG)
        language_model = SimpleNamespace(tokenizer=tokenizer)
        data_preprocessor = staticmethod(
            lambda batch, training: dict(inputs=torch.zeros(1, 3, 96, 160), data_samples=batch['data_samples'])
        )
        inference_prompt = staticmethod(lambda sample: parse_prompt(sample.text, sample.custom_entities))

        def __call__(self, inputs, samples, mode):
            assert mode == 'tensor'
            logits = torch.full((1, 12 * 20, tokens), -20.0)
            logits[0, 5 * 20 + 12, list(tokenizer(prompt).phrase_tokens[1])] = 20.0  # row 5, column 12
            return GroundingOutputs(logits, None, None, ((12, 20),))

    image = np.zeros((48, 80, 3), dtype=np.uint8)
    maps = word_heatmaps(Detector(), image, 'cat . remote')
    assert maps.names == ('cat', 'remote') and maps.values.shape == (2, 48, 80)
    assert maps.values[0].max() < 1e-6
    y, x = divmod(int(maps.values[1].argmax()), 80)
    # the middle of that position is (100, 44) in the input, which is twice the image
    assert abs(y - 22) <= 1 and abs(x - 50) <= 1 and maps.values[1].max() > 0.7


def test_the_sheet_has_a_tile_per_word_on_one_scale():
    values = torch.zeros(3, 30, 40)
    values[0, 10, 10], values[1, 20, 30] = 0.8, 0.4
    sheet = draw_word_heatmaps(WordHeatmaps(np.full((30, 40, 3), 90, np.uint8), ('a', 'b', 'c'), values), 2, 80)
    assert sheet.shape[1] == 2 * (80 + _GAP) + _GAP and sheet.shape[0] > 2 * 60
    half = (sheet.shape[0] - _GAP) // 2
    hot = sheet[_GAP : _GAP + 60, 80 + 2 * _GAP : 80 + 2 * _GAP + 80].max()
    cooler = sheet[half + _GAP : half + _GAP + 60, _GAP : _GAP + 80].max()
    nothing = sheet[half + _GAP : half + _GAP + 60, 80 + 2 * _GAP :]
    assert hot > cooler > 90 and nothing[:60, :80].max() < 90


def test_the_tool_writes_the_sheet(shapes_dir, tmp_path, capsys):
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(CONFIG).model).state_dict(), meta={}), tmp_path / 'a.pth')
    show_heatmaps.main(
        [
            CONFIG,
            str(tmp_path / 'a.pth'),
            str(shapes_dir / 'images/val/000001.jpg'),
            'red circle . blue star',
            '--out',
            str(tmp_path / 'sheet.png'),
            '--phrases',
        ]
    )
    with Image.open(tmp_path / 'sheet.png') as sheet:
        assert sheet.width == 3 * (320 + _GAP) + _GAP
    assert 'red circle: at most' in capsys.readouterr().out
