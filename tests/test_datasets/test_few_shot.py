"""Few-shot subsets: enough images of every class, the same for the same seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import BaseDataset

from glipv2_mmdet.datasets import FewShotDataset, few_shot_indices

IMAGES = st.lists(st.frozensets(st.integers(0, 5), max_size=4), max_size=30)


@given(IMAGES, st.integers(1, 10), st.integers(0, 300))
def test_every_class_has_its_shots_where_there_are_images(images, shots, seed):
    chosen = few_shot_indices(images, shots, seed)
    assert chosen == sorted(set(chosen)) == few_shot_indices(images, shots, seed)
    everywhere = Counter(category for image in images for category in image)
    kept = Counter(category for index in chosen for category in images[index])
    for category, count in everywhere.items():
        assert kept[category] >= min(shots, count)
    assert all(images[index] for index in chosen)
    # each image was kept for a class that lacked one, so no class can ask for more than its shots
    assert len(chosen) <= shots * len(everywhere)


def test_images_count_once_for_each_class_in_them():
    # whatever comes first, one image with both classes is enough, and a second one is not taken
    assert len(few_shot_indices([{0, 1}] * 5, 1, 3)) == 1
    assert few_shot_indices([{0}, {1}, set(), {2}], 1, 3) == [0, 1, 3]


def test_seeds_draw_different_images():
    assert len({tuple(few_shot_indices([{0}] * 100, 3, seed)) for seed in (3, 30, 300)}) == 3


def test_no_shots_are_refused():
    with pytest.raises(ValueError, match='shots is 0; expected 1 or more'):
        few_shot_indices([{0}], 0, 3)


class Records(BaseDataset):
    """Image i has an object of class i % 2; the last has none."""

    def load_data_list(self):
        return [dict(img_id=i, instances=[dict(bbox_label=i % 2)]) for i in range(9)] + [dict(img_id=9, instances=[])]


@pytest.mark.parametrize(('shots', 'copies'), [(1, 8), (3, 4), (5, 2), (10, 1), (None, 1)])
def test_an_epoch_has_glips_copies(shots, copies):
    dataset = FewShotDataset(Records(), shots, seed=30)
    ids = [sample['img_id'] for sample in dataset]
    assert len(ids) == len(dataset) == copies * len(set(ids))
    expected = 10 if shots is None else min(5, shots) + min(4, shots)
    assert len(set(ids)) == expected
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ids
    assert dataset.metainfo == dataset.dataset.metainfo


def test_copies_can_be_set():
    assert len(FewShotDataset(Records(), 1, copies=3)) == 6


def test_a_data_set_without_objects_is_refused():
    records = Records()
    records.full_init()
    records.get_subset_([9])
    with pytest.raises(ValueError, match='None of the 1 images has an object'):
        FewShotDataset(records, 1)
