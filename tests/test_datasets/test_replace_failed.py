"""Samples that fail to load: replaced, logged, counted, and too many of them."""

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset

from glipv2_mmdet.datasets import ReplaceFailedSamples
from glipv2_mmdet.datasets import replace_failed as module
from glipv2_mmdet.datasets.replace_failed import TooManyFailures
from glipv2_mmdet.datasets.samplers import SampleDraw


class Listed:
    """Two parts, 0-9 and 10-19; some indices raise."""

    cumulative_sizes = [10, 20]
    metainfo = {}

    def __init__(self, **broken):
        self.broken = {int(name[1:]): error for name, error in broken.items()}

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index in self.broken:
            raise self.broken[index]
        return index, float(np.random.rand())


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(module, 'print_log', lambda text, **_: lines.append(text))
    return lines


def test_a_good_sample_comes_as_it_is(logged):
    dataset = ReplaceFailedSamples(Listed())
    assert dataset[3][0] == 3 and len(dataset) == 20 and not logged


def test_a_failing_sample_is_replaced_from_its_own_part_logged_and_counted(logged):
    dataset = ReplaceFailedSamples(Listed(_12=OSError('image file is truncated')), max_failed_share=0.1, patience=1000)
    found = {dataset[12][0] for _ in range(50)}
    assert found <= set(range(10, 20)) - {12} and len(found) > 3
    assert dataset.num_draws == 50 and dataset.num_failures >= 50
    assert 'Sample 12 failed to load (OSError: image file is truncated); another one takes its place.' in logged[0]
    assert '1 of 1 so far' in logged[0]


def test_too_many_failures_stop_with_counts_and_the_last_error(logged):
    dataset = ReplaceFailedSamples(Listed(_1=ValueError('bad box')), max_failed_share=0.05, patience=40)
    np.random.seed(0)  # a replacement may be sample 1 again, and count
    dataset[1], dataset[1]
    with pytest.raises(TooManyFailures, match=r'Sample 1 failed .*ValueError: bad box\)\. That is failure 3 in 3'):
        for _ in range(9):
            dataset[1]
    assert len(logged) == 2


def test_a_mistake_in_the_pipeline_is_not_replaced():
    with pytest.raises(KeyError):
        ReplaceFailedSamples(Listed(_1=KeyError('gt_bboxes')))[1]


def test_a_draw_brings_its_random_numbers_and_its_replacement(logged):
    results = []
    for _ in range(2):
        dataset = ReplaceFailedSamples(Listed(_12=OSError('x')), max_failed_share=1)
        results.append([dataset[SampleDraw(index, number, 7)] for index, number in ((3, 0), (3, 1), (12, 2))])
        np.random.rand()  # what happens elsewhere does not matter
    assert results[0] == results[1]
    (_, first), (_, second), _ = results[0]
    assert first != second


def test_a_data_set_of_mmengine_is_one_part(logged):
    class Three(BaseDataset):
        def load_data_list(self):
            return [dict(number=number) for number in range(3)]

        def prepare_data(self, idx):
            if idx == 1:
                raise ValueError('broken')
            return self.get_data_info(idx)['number']

    dataset = ReplaceFailedSamples(Three(), max_failed_share=1)
    assert {dataset[1] for _ in range(20)} == {0, 2}


@pytest.mark.parametrize('settings', [dict(max_failed_share=1.5), dict(patience=0)])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match='expected 0 to 1'):
        ReplaceFailedSamples(Listed(), **settings)


def test_what_parts_disagree_on_is_no_metainfo():
    """mmdet reads it back from a checkpoint as a dict; a concatenation of unequal data sets has a list."""
    parts = Listed()
    parts.metainfo = [dict(classes=('a',), kind='x'), dict(kind='x')]
    assert ReplaceFailedSamples(parts).metainfo == dict(kind='x')
    parts.metainfo = dict(classes=('a',))
    assert ReplaceFailedSamples(parts).metainfo == dict(classes=('a',))


def test_an_image_of_one_channel_is_replaced():
    class Gray(BaseDataset):
        def __init__(self):
            super().__init__(lazy_init=True)

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return dict(inputs=torch.zeros(1 if index == 0 else 3, 4, 5))

    np.random.seed(0)
    dataset = ReplaceFailedSamples(Gray(), max_failed_share=1.0)
    assert dataset[0]['inputs'].shape == (3, 4, 5) and dataset.num_failures >= 1
