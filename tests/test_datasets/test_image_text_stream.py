"""Pairs read lazily: ODVG by offsets, WebDataset shards."""

import json
import os
import pickle
from itertools import islice

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from torch.utils.data import DataLoader

from glipv2_mmdet.datasets import IndexedODVGDataset
from glipv2_mmdet.datasets.image_text_stream import write_pair
from glipv2_mmdet.datasets.line_offsets import LineReader
from glipv2_mmdet.datasets.odvg_records import ODVGError

CAPTION = 'a dog runs on wet sand'


def jpeg(value=0):
    return cv2.imencode('.jpg', np.full((60, 80, 3), value, dtype=np.uint8))[1].tobytes()


def record(**more):
    return dict(
        filename='a.jpg',
        height=60,
        width=80,
        grounding=dict(caption=CAPTION, regions=[dict(bbox=[1, 2, 30, 40], tokens_positive=[[0, 5]])]),
        **more,
    )


# ---- lines


def test_lines_are_found_by_number_also_after_pickling_and_growing(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'one\n\nthree\r\nfour')
    reader = LineReader(path)
    assert [reader[k] for k in range(len(reader))] == [b'one', b'', b'three', b'four']
    assert pickle.loads(pickle.dumps(reader))[2] == b'three'
    path.write_bytes(b'one\n\nthree\r\nfour\nfive\n')  # the kept offsets are out of date
    assert LineReader(path)[4] == b'five' and len(LineReader(path)) == 5


def test_offsets_of_an_edited_file_of_the_same_size_are_made_again(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'one\nthree\n')
    index = LineReader(path)._index
    path.write_bytes(b'three\none\n')
    os.utime(index, ns=(path.stat().st_mtime_ns - 1,) * 2)  # however coarse the clock of the disk is
    assert [LineReader(path)[k] for k in range(2)] == [b'three', b'one']


def test_offsets_can_lie_elsewhere(tmp_path):
    (tmp_path / 'a.txt').write_text('x\ny\n')
    (tmp_path / 'index').mkdir()
    assert len(LineReader(tmp_path / 'a.txt', tmp_path / 'index')) == 2
    assert [path.name for path in (tmp_path / 'index').iterdir()] == ['a.txt.offsets.npy']


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / 'a.txt').touch()
    with pytest.raises(ValueError, match=r'a\.txt: the file is empty'):
        LineReader(tmp_path / 'a.txt')


# ---- ODVG


def test_odvg_lines_give_the_samples_of_the_data_set_that_holds_them_all(shapes_dir, tmp_path):
    settings = dict(
        data_root=str(shapes_dir), ann_file='annotations/train_odvg.jsonl', label_map_file='annotations/label_map.json'
    )
    # the rendering is shared by all tests, so the offsets are kept elsewhere
    lazy = IndexedODVGDataset(image_folder='images/train', index_folder=str(tmp_path), **settings)
    held = DATASETS.build(
        dict(type='GroundedODVGDataset', data_prefix=dict(img='images/train'), pipeline=[], **settings)
    )
    assert len(lazy) == len(held)
    for index in range(len(lazy)):
        expected = held[index]
        expected.pop('sample_idx')
        expected['img_path'] = lazy[index]['img_path']  # a slash more or less
        assert lazy[index] == expected


def test_a_broken_odvg_line_is_named_when_it_is_read(tmp_path):
    (tmp_path / 'a.jsonl').write_text(json.dumps(record()) + '\n{"x":\n')
    dataset = IndexedODVGDataset('a.jsonl', str(tmp_path))
    assert dataset[0]['tokens_positive'] == [[[0, 5]]]
    with pytest.raises(ODVGError, match=r'a\.jsonl:2: broken json'):
        dataset[1]


# ---- WebDataset


@pytest.fixture
def shards(tmp_path):
    wds = pytest.importorskip('webdataset', reason="needs the extra 'webdataset': pip install webdataset")
    for shard in range(3):
        with wds.TarWriter(str(tmp_path / f'pairs-{shard}.tar')) as writer:
            for number in range(4):
                key = f'{shard}{number}'
                write_pair(writer, key, jpeg(number), record(image_id=key))
    return str(tmp_path / 'pairs-{0..2}.tar')


def stream(shards, **settings):
    return DATASETS.build(dict(type='WebDatasetPairs', shards=shards, num_samples=12, **settings))


def test_every_pass_has_every_pair_once_in_another_order(shards):
    dataset = stream(shards, seed=0, shuffle_buffer=3)
    passes = [[dataset[0]['img_id'] for _ in range(12)] for _ in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(f'{s}{n}' for s in range(3) for n in range(4))
    assert passes[0] != passes[1]
    again = stream(shards, seed=0, shuffle_buffer=3)
    assert [again[5]['img_id'] for _ in range(12)] == passes[0]
    assert dataset[0]['instances'][0]['bbox'] == [1, 2, 30, 40] and dataset[0]['img_bytes'][:2] == b'\xff\xd8'


def test_workers_read_different_shards(shards):
    loader = DataLoader(
        stream(shards, seed=0), batch_size=1, num_workers=2, collate_fn=lambda samples: samples[0], sampler=range(1000)
    )
    # two workers take turns; one has two shards of four pairs, the other one: in eight draws none comes twice
    found = [sample['img_id'] for sample in islice(loader, 8)]
    assert len(set(found)) == 8


def test_more_readers_than_shards_are_refused(shards):
    dataset = stream(shards)
    dataset.world_size, dataset.rank = 4, 3
    with pytest.raises(ValueError, match='3 shards for 4 readers'):
        dataset[0]


def test_streams_mix(shards):
    dataset = DATASETS.build(
        dict(
            type='ReplaceFailedSamples',
            dataset=dict(
                type='ConcatDataset',
                datasets=[
                    dict(type='WebDatasetPairs', shards=shards, num_samples=12),
                    dict(type='WebDatasetPairs', shards=shards, num_samples=5),
                ],
            ),
        )
    )
    assert dataset.cumulative_sizes == [12, 17] and dataset[3]['text'] == dataset[16]['text'] == CAPTION


def test_a_broken_shard_is_named_and_the_stream_goes_on_behind_it(shards, tmp_path):
    cut = tmp_path / 'cut.tar'
    cut.write_bytes(b'no tar at all' * 100)
    dataset = stream([str(cut), shards], shuffle_buffer=1)
    failures, samples = 0, []
    for _ in range(30):
        try:
            samples.append(dataset.get_data_info(0))
        except ODVGError as error:
            assert 'cut.tar: the shard cannot be read to its end' in str(error)
            failures += 1
    assert failures >= 1 and len(samples) >= 20


def test_shards_without_a_pair_are_an_error_and_no_endless_loop(tmp_path):
    empty = tmp_path / 'empty.tar'
    empty.write_bytes(bytes(10240))
    dataset = stream(str(empty))
    for _ in range(2):
        with pytest.raises(ODVGError, match=r'empty\.tar: neither this shard nor any other of 1 has a pair'):
            dataset.get_data_info(0)
