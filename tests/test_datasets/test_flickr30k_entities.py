"""Flickr30kEntities: the phrases and boxes that the evaluation counts, and their types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config

from glipv2_mmdet.datasets.flickr30k_entities import EntitiesError, parse_sentences

CAPTION = 'A girl in a green hat feeds two goats .'
ROW = dict(
    id=153999,
    file_name='55501.jpg',
    height='500',
    width='333',
    caption=CAPTION,
    sentence_id=1,
    original_img_id=55501,
    dataset_name='flickr',
    tokens_positive_eval=[[[0, 6]], [[10, 21]], [[28, 37]]],
)
SENTENCES = (
    '[/EN#1/people Girl] .\n[/EN#1/people A girl] in [/EN#2/clothing a green hat] feeds '
    '[/EN#3/animals/other two goats] .\n'
)


def _box(bbox, *spans):
    return dict(image_id=153999, bbox=bbox, tokens_positive=list(map(list, spans)), category_id=1, iscrowd=0)


BOXES = [_box([1, 2, 10, 20], (0, 6)), _box([0, 0, 5, 5], (28, 37)), _box([6, 0, 5, 5], (28, 37), (10, 21))]


@pytest.fixture
def load(tmp_path):
    def build(row, boxes, sentences=SENTENCES, **settings):
        (tmp_path / 'test.json').write_text(json.dumps(dict(images=[row], annotations=boxes, categories=[])))
        (tmp_path / '55501.txt').write_text(sentences)
        return DATASETS.build(
            dict(
                type='Flickr30kEntities',
                ann_file=str(tmp_path / 'test.json'),
                data_prefix=dict(img='photos'),
                test_mode=True,
                pipeline=[],
                **settings,
            )
        )

    return build


def test_boxes_of_a_phrase_are_those_whose_spans_contain_it(load):
    (sample,) = load(ROW, BOXES)
    assert sample['img_path'] == 'photos/55501.jpg' and (sample['height'], sample['width']) == (500, 333)
    assert sample['text'] == CAPTION and sample['tokens_positive'] == ROW['tokens_positive_eval']
    assert [(i['bbox_label'], i['bbox']) for i in sample['instances']] == [
        (0, [1, 2, 11, 22]),
        (1, [6, 0, 11, 5]),
        (2, [0, 0, 5, 5]),
        (2, [6, 0, 11, 5]),
    ]
    assert 'phrase_types' not in sample


def test_types_come_from_the_sentence_of_the_row(load, tmp_path):
    (sample,) = load(ROW, BOXES, sentences_folder=str(tmp_path))
    assert sample['phrase_types'] == [('people',), ('clothing',), ('animals', 'other')]


def test_phrases_of_equal_words_get_the_type_at_their_own_place(load, tmp_path):
    caption = 'It holds a ball , and it drops a ball .'
    row = dict(ROW, caption=caption, sentence_id=0, tokens_positive_eval=[[[22, 24]], [[31, 37]]])
    boxes = [_box([1, 2, 10, 20], (22, 24)), _box([0, 0, 5, 5], (31, 37))]
    sentences = (
        '[/EN#0/notvisual It] holds  [/EN#4/other a ball] , and [/EN#1/animals it] drops [/EN#2/scene/other a ball] .\n'
    )
    (sample,) = load(row, boxes, sentences, sentences_folder=str(tmp_path))
    assert sample['phrase_types'] == [('animals',), ('scene', 'other')]
    # the first of the two alone, and in the other order
    first = dict(row, tokens_positive_eval=[[[31, 37]], [[9, 15]]])
    boxes = [_box([1, 2, 10, 20], (9, 15)), _box([0, 0, 5, 5], (31, 37))]
    (sample,) = load(first, boxes, sentences, sentences_folder=str(tmp_path))
    assert sample['phrase_types'] == [('scene', 'other'), ('other',)]


def test_words_that_are_marked_twice_elsewhere_are_refused(load, tmp_path):
    row = dict(ROW, caption='a girl sees a girl and a girl', tokens_positive_eval=[[[23, 29]]], sentence_id=0)
    sentences = '[/EN#1/people a girl] sees [/EN#2/animals a girl] and a girl\n'
    with pytest.raises(EntitiesError, match="phrase 'a girl' is marked at characters 0, 12, not at 23, in sentence 0"):
        load(row, [_box([1, 2, 10, 20], (23, 29))], sentences, sentences_folder=str(tmp_path))


def test_annotations_that_do_not_fit_are_named(load, tmp_path):
    with pytest.raises(EntitiesError, match=r"row 153999: phrase 2 \('two goats'\) has no box"):
        load(ROW, BOXES[:1] + [_box([6, 0, 5, 5], (10, 21))])
    with pytest.raises(EntitiesError, match=r"has no 'tokens_positive_eval'.*read by MDETRGroundingDataset"):
        load({key: value for key, value in ROW.items() if key != 'tokens_positive_eval'}, BOXES)
    with pytest.raises(EntitiesError, match="phrase 'A girl' is not in sentence 1"):
        load(ROW, BOXES, sentences='a\nb\n', sentences_folder=str(tmp_path))


@pytest.mark.real_data
def test_sentences_of_the_release_are_parsed(shared_dir):
    file = shared_dir / 'data/flickr30k_entities_text/6338542128.txt'
    if not file.is_file():
        file = next(iter((shared_dir / 'data').glob('flickr30k_entities_text/*.txt')), None)
    if file is None:
        pytest.skip('no sentences of Flickr30k Entities beside the repository')
    sentences = parse_sentences(file.read_text())
    assert len(sentences) == 5
    assert sum(map(len, sentences)) == file.read_text().count('[/EN#')
    assert sentences[0][0] == (3, 'a sunny , dry day', ('scene',))
    him = next(mention for mention in sentences[1] if mention.words == 'him')
    plain = (
        'An offensive player running with a football while a football player tries to stop him during a football game .'
    )
    assert him.types == ('notvisual',) and plain[him.start : him.start + 3] == 'him'


def test_given_captions_of_shapes_reach_the_metric_with_their_boxes(shapes_dir):
    config = Config.fromfile(Path(__file__).parents[2] / 'configs/_base_/datasets/shapes_grounding_val.py')
    data = DATASETS.build({**config.test_dataloader.dataset, 'data_root': str(shapes_dir)})
    assert len(data) == 8 * 5
    sample = data[0]['data_samples']
    assert sample.text.endswith('.')
    assert {i['bbox_label'] for i in sample.instances} == set(range(len(sample.tokens_positive)))
