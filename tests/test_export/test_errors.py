"""What is not exported is refused with its reason."""

from __future__ import annotations

import pytest
from mmengine.config import ConfigDict

from glipv2_mmdet.cli import main
from glipv2_mmdet.export import ExportError, export_onnx, export_program
from glipv2_mmdet.export.exportable import exportable
from glipv2_mmdet.export.graphs import FixedPromptGraph
from glipv2_mmdet.export.read_settings import read_settings
from tests.test_export.conftest import PIPELINE


def test_names_without_fixed(detector, tmp_path):
    with pytest.raises(ExportError, match=r'2 names were given .* Set fixed=True'):
        export_onnx(detector, PIPELINE, tmp_path, ['cat', 'dog'])


def test_a_list_of_several_prompts(detector):
    with pytest.raises(ExportError, match='150 class names need 3 prompts'):
        FixedPromptGraph(exportable(detector), [f'long class name {number}' for number in range(150)])


def test_a_pipeline_that_the_runner_does_not_repeat(detector):
    with pytest.raises(ExportError, match='keep_ratio=True'):
        read_settings([dict(type='Resize', scale=(64, 64), keep_ratio=False)], detector)


@pytest.mark.parametrize(('kind', 'rounds'), [('Resize', True), ('FixScaleResize', False)])
def test_the_two_ways_of_scaling_are_told_apart(detector, kind, rounds):
    settings = read_settings([dict(type=kind, scale=(64, 48), keep_ratio=True, backend='pillow')], detector)
    assert (settings.resize, settings.resize_with, settings.resize_rounds) == ((64, 48), 'pillow', rounds)
    assert type(settings).from_json(settings.to_json()) == settings


def test_soft_suppression(detector, monkeypatch):
    monkeypatch.setitem(detector.test_cfg, 'nms', ConfigDict(type='soft_nms', iou_threshold=0.5))
    with pytest.raises(ExportError, match="type='nms'"):
        read_settings(PIPELINE, detector)


def test_heads_that_write(detector, monkeypatch):
    monkeypatch.setattr(detector, 'vqa_head', detector.bbox_head)
    with pytest.raises(ExportError, match='vqa_head, which answers questions'):
        exportable(detector)


def test_an_image_size_that_is_not_padded(detector, tmp_path):
    with pytest.raises(ExportError, match=r'\(60, 64\).*multiples of 32'):
        export_program(detector, PIPELINE, tmp_path / 'detector.pt2', (60, 64), ['dog'], fixed=True)


def test_the_command_says_what_goes_together(capsys):
    assert main(['export', '--out', 'anywhere', '--format', 'pt2']) == 2
    assert 'needs --image-size' in capsys.readouterr().err
