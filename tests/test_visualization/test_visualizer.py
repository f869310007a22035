"""GLIPv2Visualizer: colours per phrase, labels apart from each other, and the text under the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from glipv2_mmdet.structures import Answers, PredictedCaption
from glipv2_mmdet.text import prompt_from_caption
from glipv2_mmdet.visualization.painting import font_size, place_label
from glipv2_mmdet.visualization.palette import label_font, phrase_colour
from glipv2_mmdet.visualization.text_panel import PanelText, line_height, paint_panel, panel_of, wrap

CAPTION = 'a red cross above two stars'
PROMPT = prompt_from_caption(CAPTION, [[[0, 11]], [[18, 27]]])


def _sample(**more):
    sample = DetDataSample(metainfo=dict(prompt=PROMPT, **more))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[10.0, 20.0, 60.0, 70.0], [70.0, 40.0, 110.0, 90.0], [0.0, 0.0, 5.0, 5.0]]),
        labels=torch.tensor([0, 1, 1]),
        scores=torch.tensor([0.9, 0.8, 0.1]),
        masks=torch.zeros(3, 100, 120, dtype=torch.bool),
    )
    return sample


@pytest.fixture
def draw(tmp_path):
    visualizer = VISUALIZERS.build(dict(type='GLIPv2Visualizer', name='test'))

    def run(sample, shape=(100, 120), **options):
        out = tmp_path / 'picture.png'
        visualizer.add_datasample('it', np.full((*shape, 3), 60, dtype=np.uint8), sample, out_file=str(out), **options)
        assert np.array_equal(cv2.imread(str(out))[..., ::-1], visualizer.get_image())
        return visualizer.get_image()

    return run


def _has(picture, colour):
    return (picture == np.array(colour)).all(axis=-1)


def test_boxes_and_words_of_a_phrase_have_its_colour(draw):
    picture = draw(_sample())
    scale = 5  # 120 -> 600 pixels
    assert picture.shape[1] == 120 * scale and picture.shape[0] > 100 * scale
    scene, panel = picture[: 100 * scale], picture[100 * scale :]
    assert _has(scene[20 * scale : 70 * scale, 10 * scale : 14 * scale], phrase_colour(0)).any()
    assert _has(scene[40 * scale : 90 * scale, 70 * scale : 74 * scale], phrase_colour(1)).any()
    assert _has(panel, phrase_colour(0)).any() and _has(panel, phrase_colour(1)).any()
    assert not _has(scene[: 6 * scale, : 6 * scale], phrase_colour(1)).any()  # the box under the threshold


def test_masks_are_tinted_in_the_colour_of_their_phrase(draw):
    sample = _sample()
    sample.pred_instances.masks[0, 40:50, 30:40] = True
    inside = draw(sample)[45 * 5, 35 * 5]
    assert inside.tolist() == pytest.approx(0.6 * 60 + 0.4 * np.array(phrase_colour(0)), abs=1)


def test_truth_and_prediction_stand_side_by_side_and_photos_keep_their_size(draw):
    sample = _sample()
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[10.0, 20.0, 60.0, 70.0]]), labels=torch.tensor([0]))
    assert draw(sample).shape[1] == 2 * 600
    assert draw(_sample(), (800, 1333), draw_gt=False).shape[1] == 1333


def test_a_picture_without_anything_to_say_has_no_panel(draw):
    assert draw(None).shape[:2] == (500, 600)
    assert draw(DetDataSample()).shape[:2] == (500, 600)


def test_question_and_answers_or_the_generated_caption_are_written(draw):
    sample = DetDataSample(metainfo=dict(question='what color is it?'))
    plain = draw(sample).shape[0]
    sample.pred_answers = Answers(('red', 'blue'), (0.91, 0.05))
    assert [paragraph.text for paragraph in panel_of(sample)] == ['what color is it?', 'red   0.91', 'blue   0.05']
    assert draw(sample).shape[0] == 500 + 3 * line_height(15) + 2 * 7 > plain
    said = DetDataSample()
    said.pred_caption = 'two stars.'
    assert panel_of(said) == (PanelText('two stars.'),)
    said.pred_caption = PredictedCaption(PROMPT.text, -0.5, (), PROMPT.phrases)
    assert panel_of(said) == (PanelText(PROMPT.text, ((0, 11, 0), (18, 27, 1))),)


def test_the_prompt_of_mmdets_inference_is_shown():
    sample = DetDataSample(metainfo=dict(text='cat . dog', custom_entities=True))
    assert panel_of(sample) == (PanelText('cat. dog', ((0, 3, 0), (5, 8, 1))),)


def test_the_panel_grows_with_its_lines():
    one, many = (paint_panel([PanelText(CAPTION * count)], 300, 15) for count in (1, 8))
    lines = len(wrap(PanelText(CAPTION * 8), 300 - 14, 15))
    assert lines > 3 and many.shape[0] - one.shape[0] == (lines - 1) * line_height(15)
    assert one.shape[1] == many.shape[1] == 300


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text('abc Wi', min_size=1, max_size=60), min_size=1, max_size=6), st.integers(40, 300))
def test_lines_fit_and_lose_no_letter(words, width):
    text = ' '.join(words)
    lines = wrap(PanelText(text, ((0, len(text), 0),)), width, 15)
    assert all(label_font(15).getlength(line.text) <= width for line in lines)
    assert ''.join(''.join(line.text for line in lines).split()) == ''.join(text.split())


def test_colours_stay_with_their_characters_over_a_line_break():
    lines = wrap(PanelText(CAPTION, ((0, 11, 0), (18, 27, 1))), 90, 15)
    assert len(lines) > 2
    coloured = {
        phrase: ''.join(text for line in lines for text, of in line.pieces if of == phrase) for phrase in (0, 1)
    }
    assert {phrase: text.replace(' ', '') for phrase, text in coloured.items()} == {0: 'aredcross', 1: 'twostars'}


def test_forty_phrases_have_forty_colours():
    assert len({phrase_colour(index) for index in range(40)}) == 40


def test_no_label_covers_another_and_all_lie_in_the_picture():
    rng = np.random.default_rng(0)
    size, taken = font_size((600, 800)), []
    for corner in rng.uniform(0, 500, (25, 2)):
        box = np.concatenate((corner, corner + rng.uniform(10, 100, 2)))
        place = place_label(box, 'a red cross 0.90', size, (800, 600), taken)
        if place is not None:
            assert 0 <= place[0] and 0 <= place[1] and place[2] <= 800 and place[3] <= 600
            assert all(place[2] <= a or place[0] >= c or place[3] <= b or place[1] >= d for a, b, c, d in taken)
            taken.append(place)
    assert len(taken) > 15
    # the same box again and again: places run out, and nothing is written over
    places = [place_label(np.array([300.0, 300, 320, 320]), 'x' * 12, size, (800, 600), taken) for _ in range(3)]
    assert places[0] == places[1] == places[2]


def test_columns_say_what_they_are_and_names_come_from_the_text(draw):
    sample = _sample()
    single = draw(sample).shape[0]
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[10.0, 20.0, 60.0, 70.0]]), labels=torch.tensor([0]))
    both = draw(sample)
    assert both.shape[0] == single + line_height(15) + 2 * 7
    visualizer = VISUALIZERS.build(dict(type='GLIPv2Visualizer', name='names'))
    asked = DetDataSample(metainfo=dict(text='the red cross', tokens_positive=[[[0, 13]]]))
    assert visualizer._names(InstanceData(labels=torch.tensor([0])), asked, [0]) == ['the red cross']


def test_all_colours_can_be_read_on_the_dark_panel():
    for index in range(60):
        red, green, blue = phrase_colour(index)
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue > 105


@pytest.mark.slow
def test_a_word_of_a_hundred_thousand_letters_takes_no_minutes():
    lines = wrap(PanelText('a' * 100_000), width=300, size=13)
    assert ''.join(line.text for line in lines) == 'a' * 100_000
    panel = paint_panel([PanelText('a' * 100_000)], width=640, size=13)
    assert panel.shape[0] < line_height(13) * 400
