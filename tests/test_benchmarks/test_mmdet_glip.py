"""The race against mmdet's GLIP: inputs are the same for both sides, and what differs is found."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from benchmarks import compare_mmdet_glip
from benchmarks.compare_mmdet_glip import Race, check
from benchmarks.peer.cases import CASES, CHUNK_SIZE
from benchmarks.peer.process import Agreement, Side, SideError, compare_results


@pytest.fixture
def written(tmp_path):
    def write(name, **arrays):
        path = tmp_path / f'{name}.npz'
        np.savez(path, **arrays)
        return path

    return write


DETECTIONS = dict(
    boxes=np.array([[0, 0, 10, 10], [5, 5, 50, 40], [0, 0, 10, 10]], dtype=np.float32),
    scores=np.array([0.9, 0.8, 0.85], dtype=np.float32),
    labels=np.array([0, 1, 1]),
)


def test_detections_are_equal_in_any_order(written):
    shuffled = {name: values[[2, 0, 1]] for name, values in DETECTIONS.items()}
    shuffled['boxes'] = shuffled['boxes'] + np.float32(0.001)
    found = compare_results(written('ours', **shuffled), written('peer', **DETECTIONS))
    assert found.unmatched == 0
    assert found.max_rel_diff == pytest.approx(0.001 / 50, rel=0.01)


@pytest.mark.parametrize(
    'change, unmatched',
    [
        (dict(labels=np.array([0, 1, 0])), 2),  # the same box under another name
        (dict(boxes=DETECTIONS['boxes'] + np.array([[3], [0], [0]])), 2),
        ({name: values[:2] for name, values in DETECTIONS.items()}, 1),
        ({name: values[:0] for name, values in DETECTIONS.items()}, 3),
    ],
)
def test_other_detections_are_counted(written, change, unmatched):
    found = compare_results(written('ours', **{**DETECTIONS, **change}), written('peer', **DETECTIONS))
    assert found.unmatched == unmatched


def test_a_list_cut_between_equal_scores_is_no_difference(written):
    """Two prompts of one name each; the lowest of the second is another box of the same score."""
    ours = {**DETECTIONS, 'boxes': DETECTIONS['boxes'] + np.array([[0], [9], [0]])}
    files = written('ours', **ours), written('peer', **DETECTIONS)
    assert compare_results(*files, prompt_size=1).unmatched == 0
    ours = {**DETECTIONS, 'boxes': DETECTIONS['boxes'] + np.array([[0], [0], [9]])}
    files = written('ours', **ours), written('peer', **DETECTIONS)
    assert compare_results(*files, prompt_size=1).unmatched == 2


def test_one_detection_is_no_partner_of_two(written):
    twice = {name: values[[0, 0]] for name, values in DETECTIONS.items()}
    once = {name: values[:1] for name, values in DETECTIONS.items()}
    assert compare_results(written('ours', **once), written('peer', **twice)).unmatched == 1


def test_losses_are_compared_one_by_one(written):
    ours = written('ours', loss_cls=np.float32(2.0), loss_bbox=np.float32(1.01))
    found = compare_results(ours, written('peer', loss_cls=np.float32(2.0), loss_bbox=np.float32(1.0)))
    assert found == Agreement(pytest.approx(0.01, rel=1e-3))


@pytest.mark.parametrize('name', ['infer-800x1333-words', 'train-480x640-coco-b2', 'infer-480x640-lvis'])
def test_inputs_are_the_same_every_time(name):
    case = CASES[name].smaller()
    images = case.images()
    assert torch.equal(images, case.images())
    assert images.shape[0] == max(case.batch_size, 1) and not any(side % 32 for side in images.shape[2:])
    assert images[..., case.height :, :].abs().sum() == images[..., case.width :].abs().sum() == 0
    for first, second in zip(case.samples(), case.samples(), strict=True):
        assert first.text == second.text
        if case.training:
            boxes = first.gt_instances.bboxes
            assert torch.equal(boxes, second.gt_instances.bboxes)
            assert (boxes >= 0).all() and (boxes <= torch.tensor([case.width, case.height] * 2)).all()
            assert first.gt_instances.labels.max() < len(first.text)


def test_prompts_are_what_the_names_say():
    texts = {name: case.samples()[0].text for name, case in CASES.items()}
    assert len(texts['infer-480x640-words'].split()) == 8
    assert len(' '.join(texts['train-480x640-words-b1']).split()) == 8
    assert len(texts['infer-480x640-coco']) == 80 and len(texts['infer-480x640-lvis']) == 1203
    caption = CASES['infer-480x640-words'].samples()[0]
    assert [caption.text[begin:end] for [[begin, end]] in caption.tokens_positive] == ['cats', 'remote']
    assert set(compare_mmdet_glip.CASES) == set(CASES) and compare_mmdet_glip.CHUNK_SIZE == CHUNK_SIZE


class FakeSide:
    """Answers as a process would, and remembers in which order it was asked."""

    def __init__(self, name, log, seconds=1.0):
        self.name, self.log, self.seconds, self.baseline_mb = name, log, seconds, 100.0

    def __enter__(self):
        self.log.append((self.name, 'start'))
        return self

    def __exit__(self, *_):
        self.log.append((self.name, 'end'))

    def ask(self, do, **request):
        self.log.append((self.name, do, request['small']))
        if do == 'check':
            np.savez(request['out'], loss_cls=np.float32(1.0))
        return dict(seconds=self.seconds, cpu_seconds=self.seconds, peak_mb=300.0 if self.name == 'ours' else 500.0)


def test_in_training_one_process_runs_at_a_time():
    log = []
    found = compare_mmdet_glip.race(
        'train-480x640-words-b1', Agreement(0.0), lambda name: FakeSide(name, log, 1.0 if name == 'ours' else 4.0), 2
    )
    turn = [
        (name, *what) for name in ('ours', 'peer') for what in (('start',), ('run', True), ('run', False), ('end',))
    ]
    assert log == turn * 2
    figures = found.figures()
    assert (figures['ratio'], figures['repeats'], figures['spread_ours']) == (4.0, 2, 0.0)
    assert (figures['peak_ours'], figures['peak_peer'], figures['peak_ratio'], figures['total_peer']) == (
        200,
        400,
        0.5,
        500,
    )


def test_at_inference_loaded_models_take_turns():
    log = []
    compare_mmdet_glip.race('infer-480x640-words', Agreement(0.0), lambda name: FakeSide(name, log), 2)
    runs = [entry for entry in log if entry[1] == 'run']
    assert runs == [('ours', 'run', False), ('peer', 'run', False)] * 3  # the first turn warms up


def test_the_ratio_is_that_of_runs_in_the_same_turn():
    race = Race(Agreement(0.0))
    for ours, peer in ((1.0, 3.0), (10.0, 30.0), (2.0, 8.0)):  # a busy machine slows both
        race.add(FakeSide('ours', []), dict(seconds=ours, cpu_seconds=1.0, peak_mb=200.0))
        race.add(FakeSide('peer', []), dict(seconds=peer, cpu_seconds=3.0, peak_mb=200.0))
    assert race.figures()['ratio'] == 3.0 and race.figures()['spread_ours'] == 4.5


def test_everything_is_checked_before_anything_runs(tmp_path):
    log = []
    found = dict(check(['train-480x640-words-b1', 'infer-480x640-lvis'], lambda name: FakeSide(name, log), tmp_path))
    assert [agreement.max_rel_diff for agreement in found.values()] == [0.0, 0.0]
    assert log == [
        (name, *what) for name in ('peer', 'ours') for what in (('start',), ('check', False), ('check', True), ('end',))
    ]


def test_a_process_that_ends_early_is_named(tmp_path):
    with pytest.raises(SideError, match=r'process of nobody ended with exit code 2'):
        Side('nobody', sys.executable, tmp_path / 'weights.pth', threads=1)
