"""Flickr30kRecall and GeneratedPhraseRecall: hand-computed recalls."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS

from glipv2_mmdet.structures import PredictedCaption
from glipv2_mmdet.text import Phrase

SQUARE = [0, 0, 10, 10]


def _found(*detections):
    """(label, score, box) of each."""
    return dict(
        bboxes=torch.tensor([box for *_, box in detections], dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor([score for _, score, _ in detections]),
        labels=torch.tensor([label for label, *_ in detections], dtype=torch.long),
    )


def _sample(truth, *detections, **more):
    """truth: the boxes of each phrase."""
    instances = [dict(bbox=box, bbox_label=k, ignore_flag=0) for k, boxes in enumerate(truth) for box in boxes]
    return dict(
        img_id=1,
        tokens_positive=[[[2 * k, 2 * k + 1]] for k in range(len(truth))],
        instances=instances,
        pred_instances=_found(*detections),
        **more,
    )


def _evaluate(samples, **settings):
    metric = METRICS.build(dict(type='Flickr30kRecall', **settings))
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))  # mmengine drops what is beyond one entry per sample


def test_recall_at_k_counts_the_best_boxes_of_each_phrase():
    wrong = [50, 50, 60, 60]
    figures = _evaluate(
        [
            _sample(
                [[SQUARE], [SQUARE], [SQUARE]],
                (0, 0.2, wrong),
                (0, 0.9, SQUARE),  # right at once, in any order
                *((1, 0.9 - k / 100, wrong) for k in range(5)),
                (1, 0.1, SQUARE),  # right at the sixth
                (0, 0.95, [0, 0, 10, 9]),
            )
        ]
    )  # nothing for phrase 2
    assert figures == {
        'flickr30k/num_phrases': 3,
        'flickr30k/any/R@1': 1 / 3,
        'flickr30k/any/R@5': 1 / 3,
        'flickr30k/any/R@10': 2 / 3,
        'flickr30k/any/upper_bound': 2 / 3,
        'flickr30k/merged/R@1': 1 / 3,
        'flickr30k/merged/R@5': 1 / 3,
        'flickr30k/merged/R@10': 2 / 3,
        'flickr30k/merged/upper_bound': 2 / 3,
    }


def test_any_box_of_several_is_enough_and_merged_asks_for_the_box_around_them():
    # two boxes side by side; around both is (0, 0, 20, 10)
    pair = [SQUARE, [10, 0, 20, 10]]
    one = _evaluate([_sample([pair], (0, 0.9, SQUARE), (0, 0.8, [0, 0, 20, 10]))])
    assert one['flickr30k/any/R@1'] == 1.0
    # half of the box around both is an IoU of 0.5 exactly, and that counts
    assert one['flickr30k/merged/R@1'] == 1.0
    narrow = _evaluate([_sample([pair], (0, 0.9, [0, 0, 9.5, 10]), (0, 0.8, [0, 0, 20, 10]))], topk=(1, 2))
    assert (narrow['flickr30k/merged/R@1'], narrow['flickr30k/merged/R@2']) == (0.0, 1.0)
    assert narrow['flickr30k/any/R@1'] == 1.0
    # around both is right, but no box of the two overlaps it by more than a half
    apart = _evaluate([_sample([[SQUARE, [30, 0, 40, 10]]], (0, 0.9, [0, 0, 40, 10]))])
    assert (apart['flickr30k/any/R@1'], apart['flickr30k/merged/R@1']) == (0.0, 1.0)


@pytest.mark.parametrize(('box', 'hit'), [([0, 0, 10, 5], 1.0), ([0, 0, 10, 4.99], 0.0)])
def test_an_iou_of_exactly_one_half_is_right(box, hit):
    assert _evaluate([_sample([[SQUARE]], (0, 0.9, box))])['flickr30k/any/R@1'] == hit


def test_equal_scores_keep_their_order():
    wrong = [50, 50, 60, 60]
    first = _evaluate([_sample([[SQUARE]], (0, 0.5, SQUARE), (0, 0.5, wrong))])
    second = _evaluate([_sample([[SQUARE]], (0, 0.5, wrong), (0, 0.5, SQUARE))])
    assert (first['flickr30k/any/R@1'], second['flickr30k/any/R@1']) == (1.0, 0.0)
    assert second['flickr30k/any/R@5'] == 1.0


def test_phrases_without_boxes_do_not_count_and_a_picture_without_detections_is_missed():
    figures = _evaluate([_sample([[], [SQUARE]]), _sample([[SQUARE]], (0, 0.3, SQUARE))])
    assert figures['flickr30k/num_phrases'] == 2 and figures['flickr30k/any/R@10'] == 0.5


def test_every_type_of_a_phrase_has_its_own_recall():
    figures = _evaluate(
        [_sample([[SQUARE], [SQUARE]], (0, 0.9, SQUARE), phrase_types=[('people',), ('other', 'people')])],
        protocols=('any',),
        topk=(1,),
    )
    assert figures == {
        'flickr30k/num_phrases': 2,
        'flickr30k/any/R@1': 0.5,
        'flickr30k/any/upper_bound': 0.5,
        'flickr30k/any/R@1/people': 0.5,
        'flickr30k/any/upper_bound/people': 0.5,
        'flickr30k/any/R@1/other': 0.0,
        'flickr30k/any/upper_bound/other': 0.0,
    }


def test_figures_do_not_depend_on_the_order_of_detections():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 20, (30, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(5, 20, (30, 2))), axis=1)
    detections = list(zip(rng.integers(0, 3, 30), rng.permutation(30) / 30, boxes, strict=True))
    truth = [[list(boxes[0])], [list(boxes[1]), list(boxes[2])], [list(boxes[3])]]
    shuffled = [detections[k] for k in rng.permutation(30)]

    def arrays(items):
        return dict(
            _sample(truth),
            pred_instances=dict(
                bboxes=np.array([b for *_, b in items]),
                scores=np.array([s for _, s, _ in items]),
                labels=np.array([label for label, *_ in items]),
            ),
        )

    assert _evaluate([arrays(detections)]) == _evaluate([arrays(shuffled)])


def test_settings_and_samples_that_cannot_be_measured_are_refused():
    with pytest.raises(ValueError, match="Protocol 'all'; expected some of any, merged"):
        METRICS.build(dict(type='Flickr30kRecall', protocols=('all',)))
    with pytest.raises(ValueError, match='List them in the meta_keys'):
        _evaluate([dict(img_id=4, pred_instances=_found())])


def _caption(*names):
    return PredictedCaption(text='', score=0.0, word_spans=(), phrases=tuple(Phrase(name, ((0, 1),)) for name in names))


def test_generated_phrases_are_matched_by_their_words(tmp_path):
    record = dict(
        image_id=7,
        filename='7.jpg',
        height=100,
        width=100,
        grounding=dict(
            caption='a red cross and two stars.',
            regions=[
                dict(bbox=SQUARE, phrase='a red cross', tokens_positive=[[0, 11]]),
                dict(bbox=[SQUARE, [40, 40, 60, 60]], phrase='two stars', tokens_positive=[[16, 25]]),
            ],
        ),
    )
    other = dict(record, grounding=dict(caption='star', regions=[dict(bbox=SQUARE, phrase='star')]))
    (tmp_path / 'val.jsonl').write_text('\n'.join(map(json.dumps, (record, other))))
    metric = METRICS.build(dict(type='GeneratedPhraseRecall', ann_file=str(tmp_path / 'val.jsonl'), topk=(1,)))
    metric.process(
        {},
        [
            dict(
                img_id=7,
                pred_caption=_caption('Red cross', 'the two stars', 'a dog', 'star'),
                pred_instances=_found(
                    (0, 0.9, SQUARE), (1, 0.9, [0, 0, 3, 3]), (1, 0.5, [41, 40, 60, 60]), (2, 0.9, SQUARE)
                ),
            )
        ],
    )
    assert metric.evaluate(size=1) == {
        'generated/num_phrases': 4,
        'generated/matched': 3 / 4,
        'generated/R@1': 1 / 3,
        'generated/upper_bound': 2 / 3,
    }


def test_generated_phrases_of_an_unknown_image_match_nothing(tmp_path):
    (tmp_path / 'val.jsonl').write_text(
        json.dumps(
            dict(image_id=7, filename='7.jpg', height=100, width=100, grounding=dict(caption='a cross', regions=[]))
        )
    )
    metric = METRICS.build(dict(type='GeneratedPhraseRecall', ann_file=str(tmp_path / 'val.jsonl')))
    metric.process({}, [dict(img_id=8, pred_caption=_caption('a cross'), pred_instances=_found())])
    assert metric.evaluate(size=1) == {'generated/num_phrases': 1, 'generated/matched': 0.0}
