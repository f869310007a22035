"""Captions of other rows as negatives, from the file to the prompt."""

import json

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets import IndexedODVGDataset, WithNegativeCaptions
from glipv2_mmdet.datasets.odvg_records import ODVGError

CAPTIONS = [f'{colour} {thing}' for colour in ('red', 'green', 'blue') for thing in ('kite', 'boat')]


@pytest.fixture
def pairs(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.zeros((60, 80, 3), dtype=np.uint8))
    (tmp_path / 'a.jsonl').write_text(
        ''.join(
            json.dumps(
                dict(
                    filename='a.jpg',
                    height=60,
                    width=80,
                    grounding=dict(
                        caption=caption, regions=[dict(bbox=[5, 5, 40, 40], tokens_positive=[[0, len(caption)]])]
                    ),
                )
            )
            + '\n'
            for caption in CAPTIONS
        )
    )
    return dict(type='IndexedODVGDataset', ann_file='a.jsonl', data_root=str(tmp_path))


def build(pairs, **settings):
    return DATASETS.build(dict(type='WithNegativeCaptions', dataset=pairs, **settings))


def test_negatives_are_captions_of_other_rows_in_the_numbers_asked_for(pairs):
    np.random.seed(0)
    dataset = build(pairs)
    counts = []
    for _ in range(200):
        for row in (0, 3, 5):
            drawn = dataset[row]['negative_captions']
            assert CAPTIONS[row] not in drawn and set(drawn) <= set(CAPTIONS)
            counts.append(len(drawn))
    counts = np.bincount(counts, minlength=21) / len(counts)
    # 0.4 none and 0.6 * 0.5 / 20 more; 0.6 * 0.5 the full 20; the rest even
    assert counts[0] == pytest.approx(0.415, abs=0.06) and counts[20] == pytest.approx(0.3, abs=0.06)
    assert counts[1:20].sum() == pytest.approx(0.285, abs=0.06) and len(counts) == 21
    always = build(pairs, none_probability=0.0, full_probability=1.0, max_captions=200)
    assert set(always[2]['negative_captions']) == set(CAPTIONS) - {CAPTIONS[2]}


def test_packed_prompts_keep_the_boxes_of_the_own_caption(pairs):
    np.random.seed(0)
    dataset = build(
        pairs,
        none_probability=0.0,
        full_probability=1.0,
        max_captions=200,
        pipeline=[
            dict(type='LoadStreamedImage'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='CleanBoxes'),
            dict(type='BuildPrompt'),
        ],
    )
    for row, caption in enumerate(CAPTIONS):
        sample = dataset[row]
        prompt = sample['prompt']
        assert sorted(text.strip(' .') for text in prompt.text.split('. ')) == sorted(CAPTIONS)
        assert prompt.names == (caption,) and not prompt.is_detection
        ((start, end),) = prompt.phrases[0].spans
        assert prompt.text[start:end] == caption
        assert sample['gt_bboxes_labels'].tolist() == [0] and 'negative_captions' not in sample


def test_samplers_do_not_read_other_rows(pairs):
    dataset = build(pairs, none_probability=0.0, full_probability=1.0)
    assert 'negative_captions' not in dataset.get_data_info(0) and len(dataset) == 6


def test_what_has_no_captions_by_number_is_refused(pairs):
    with pytest.raises(TypeError, match='WithNegativeCaptions cannot give the caption of any row'):
        WithNegativeCaptions(build(pairs))
    with pytest.raises(ValueError, match=r'none_probability is 1\.5'):
        build(pairs, none_probability=1.5)


def test_a_detection_record_among_captions_is_named(tmp_path):
    (tmp_path / 'a.jsonl').write_text('{"detection": {"instances": []}}\n')
    with pytest.raises(ODVGError, match=r'a\.jsonl:1: record .* expected a grounding record'):
        IndexedODVGDataset('a.jsonl', str(tmp_path)).get_caption(0)
