"""Results: exact numbers in every form they leave in, and pictures of every size."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from glipv2_mmdet.apis.results import Answer, Caption, Detections, Grounding
from glipv2_mmdet.text import prompt_from_caption, prompt_from_classes
from glipv2_mmdet.visualization.palette import phrase_colour

PROMPT = prompt_from_classes(['cat', 'remote control'])


def detections(masks: bool = False, shape: tuple[int, int] = (60, 80)) -> Detections:
    marked = np.zeros((2, *shape), dtype=bool)
    marked[0, 10:30, 5:25] = True
    return Detections(
        image=np.full((*shape, 3), 90, np.uint8),
        source='photo.jpg',
        prompt=PROMPT.text,
        boxes=np.array([[5, 10, 25, 30], [40, 20, 70, 50]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        labels=np.array([1, 0]),
        phrases=PROMPT.phrases,
        masks=marked if masks else None,
    )


def test_json_has_everything_but_the_image():
    content = json.loads(detections().to_json())
    assert content == {
        'source': 'photo.jpg',
        'height': 60,
        'width': 80,
        'prompt': 'cat. remote control',
        'phrases': [{'name': 'cat', 'spans': [[0, 3]]}, {'name': 'remote control', 'spans': [[5, 19]]}],
        'objects': [
            {'phrase': 1, 'name': 'remote control', 'score': 0.75, 'box': [5, 10, 25, 30]},
            {'phrase': 0, 'name': 'cat', 'score': 0.5, 'box': [40, 20, 70, 50]},
        ],
    }


def test_coco_records_are_read_by_pycocotools():
    found = detections(masks=True)
    records = found.to_coco(image_id=7)
    assert [(record['category_id'], record['bbox']) for record in records] == [
        (2, [5, 10, 20, 20]),
        (1, [40, 20, 30, 30]),
    ]
    assert np.array_equal(coco_mask.decode(records[0]['segmentation']).astype(bool), found.masks[0])
    truth = COCO()
    truth.dataset = dict(
        images=[dict(id=7, height=60, width=80)],
        annotations=[],
        categories=[dict(id=1, name='cat'), dict(id=2, name='remote control')],
    )
    truth.createIndex()
    loaded = truth.loadRes(json.loads(json.dumps(records)))
    assert loaded.loadAnns(loaded.getAnnIds(catIds=[2]))[0]['area'] == 400
    assert [record['category_id'] for record in found.to_coco(7, category_ids=[17, 75])] == [75, 17]
    with pytest.raises(ValueError, match='category_ids has 1 entries, the prompt 2 phrases'):
        found.to_coco(7, category_ids=[17])


def test_selection_keeps_all_fields_together():
    found = detections(masks=True)
    high = found.select(found.scores > 0.6)
    assert high.names == ('remote control',) and high.boxes.tolist() == [[5, 10, 25, 30]]
    assert len(high) == 1 and high.masks.shape == (1, 60, 80) and high.phrases == found.phrases


def test_a_sentence_is_walked_phrase_by_phrase():
    prompt = prompt_from_caption('a dog chases a ball', [[[13, 19]], [[0, 5]]])
    found = Grounding(**{**vars(detections()), 'prompt': prompt.text, 'phrases': prompt.phrases})
    walked = [(phrase.name, part.scores.tolist()) for phrase, part in found.by_phrase()]
    assert walked == [('a dog', [0.75]), ('a ball', [0.5])]
    assert type(found.select([0])) is Grounding


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 400), width=st.integers(1, 400), masks=st.booleans())
def test_pictures_of_any_size_are_drawn(height, width, masks):
    found = detections(masks)
    found = Detections(
        **{
            **vars(found),
            'image': np.zeros((height, width, 3), np.uint8),
            'masks': np.ones((2, height, width), bool) if masks else None,
        }
    )
    picture = found.draw()
    scale = max(1, round(640 / max(height, width)))
    assert picture.dtype == np.uint8 and picture.shape[1] == width * scale and picture.shape[0] > height * scale


def test_boxes_and_text_have_the_colour_of_their_phrase():
    picture = detections().draw()
    assert picture.shape[1] == 640
    scene, panel = picture[:480], picture[480:]
    for label in (0, 1):
        colour = np.array(phrase_colour(label))
        assert (scene == colour).all(-1).any() and (panel == colour).all(-1).any()
    assert (detections(masks=True).draw()[200, 100] != picture[200, 100]).any()


def test_large_photos_have_large_labels():
    def rows(side: int) -> int:
        colour = phrase_colour(1)
        image = np.zeros((side, side, 3), np.uint8)
        found = Detections(
            **{
                **vars(detections()),
                'image': image,
                'boxes': np.array([[0, side / 2, side - 1, side - 1]] * 2, np.float32),
            }
        )
        picture = found.select([0]).draw()[: side // 2]
        return (picture == np.array(colour)).all(-1).any(1).sum()

    assert rows(1000) >= 20 and rows(4000) >= 60


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp'])
def test_saved_pictures_can_be_opened(tmp_path, suffix):
    file = detections().save(tmp_path / 'new' / f'picture.{suffix}')
    assert Image.open(file).size == detections().draw().shape[1::-1]


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'does not end like a picture.*to_json'):
        detections().save(tmp_path / 'out.json')
    assert not list(tmp_path.iterdir())


def test_show_opens_the_picture(monkeypatch):
    shown = []
    monkeypatch.setattr(Image.Image, 'show', lambda self, title: shown.append((self.size, title)))
    detections().show()
    assert shown == [(detections().draw().shape[1::-1], 'photo.jpg')]
    assert detections()._repr_png_().startswith(b'\x89PNG')


def test_results_have_a_short_text_and_can_be_pickled():
    found = pickle.loads(pickle.dumps(detections()))
    assert repr(found) == "Detections('photo.jpg', 2: remote control 0.75, cat 0.50)"
    assert repr(found.select([])) == "Detections('photo.jpg', 0 of 2 phrases)"


def test_supervision_gets_all_fields():
    supervision = pytest.importorskip('supervision', reason='supervision is optional')
    given_masks = detections(masks=True)
    found = given_masks.to_supervision()
    assert isinstance(found, supervision.Detections)
    assert found.xyxy.tolist() == given_masks.boxes.tolist() and found.class_id.tolist() == [1, 0]
    assert found.data['class_name'].tolist() == ['remote control', 'cat'] and found.mask.sum() == 400
    assert len(given_masks.select([]).to_supervision()) == 0


def test_without_supervision_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(ImportError, match='pip install supervision'):
        detections().to_supervision()


def test_answers():
    answer = Answer(detections().image, 'photo.jpg', 'how many cats?', ('2', '1'), (0.5, 0.25), detections())
    assert str(answer) == answer.best == '2' and answer.to_coco(11) == {'question_id': 11, 'answer': '2'}
    content = json.loads(answer.to_json())
    assert content['answers'] == [{'answer': '2', 'score': 0.5}, {'answer': '1', 'score': 0.25}]
    assert content['detections'] == {key: detections().to_dict()[key] for key in ('prompt', 'phrases', 'objects')}
    plain = Answer(detections().image, 'photo.jpg', 'how many cats?', ('2', '1'), (0.5, 0.25))
    assert 'detections' not in plain.to_dict()
    assert plain.draw().shape == answer.draw().shape and (plain.draw() != answer.draw()).any()


def test_captions():
    caption = Caption(detections().image, 'photo.jpg', 'a cat', -0.5)
    assert str(caption) == 'a cat' and caption.to_coco(3) == {'image_id': 3, 'caption': 'a cat'}
    assert json.loads(caption.to_json()) == {
        'source': 'photo.jpg',
        'height': 60,
        'width': 80,
        'caption': 'a cat',
        'score': -0.5,
    }
    assert caption.draw().shape[0] > 480
    assert Caption(detections().image, 'photo.jpg', '', -0.5).draw().shape[0] == 480
