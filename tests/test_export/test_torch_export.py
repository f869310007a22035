"""A torch.export program, saved and loaded, computes what the detector computes."""

from __future__ import annotations

import pytest
import torch

from glipv2_mmdet.export import export_program, load_program
from glipv2_mmdet.export.exportable import exportable
from glipv2_mmdet.export.graphs import FixedPromptGraph, ImageTextGraph, phrase_shares
from glipv2_mmdet.export.onnx_export import example_inputs
from glipv2_mmdet.text import prompt_from_classes
from tests.test_export.conftest import NAMES, PIPELINE

SIZE = (64, 96)


@pytest.mark.slow
def test_a_fixed_prompt_comes_back_equal(detector, tmp_path):
    path = export_program(detector, PIPELINE, tmp_path / 'fixed.pt2', SIZE, NAMES, fixed=True)
    program, settings = load_program(path)
    assert settings.phrases == NAMES and settings.image_size == SIZE
    assert not any('language_model' in name for name in program.state_dict)
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = FixedPromptGraph(exportable(detector), NAMES)(image)
        found = program.module()(image)
    for first, second in zip(found, expected, strict=True):
        torch.testing.assert_close(first, second)
    with pytest.raises(AssertionError, match='size'):
        program.module()(torch.randn(1, 3, 96, 96))


@pytest.mark.slow
def test_a_program_reads_prompts_of_other_lengths(detector, tmp_path):
    program, settings = load_program(export_program(detector, PIPELINE, tmp_path / 'text.pt2', SIZE))
    assert settings.phrases == ()
    graph = ImageTextGraph(exportable(detector))
    image = example_inputs(graph, SIZE)[0]
    for names in (('dog',), NAMES):
        prompt = prompt_from_classes(names)
        tokens = detector.language_model.tokenizer.collate([detector.language_model.tokenizer(prompt)])
        inputs = image, tokens.input_ids, tokens.mask, phrase_shares(graph.detector, prompt, tokens.mask.shape[1])
        with torch.no_grad():
            for first, second in zip(program.module()(*inputs), graph(*inputs), strict=True):
                torch.testing.assert_close(first, second)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='glipv2 export --format pt2'):
        load_program(tmp_path / 'detector.pt2')
