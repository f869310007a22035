"""Other training data are noticed, and said in words; moved files are the same data."""

import json
import shutil

import pytest
from mmdet.registry import DATASETS

from glipv2_mmdet.engine import data_fingerprint
from glipv2_mmdet.engine.data_fingerprint import describe_data, differences


def build(folder, kind='IndexedODVGDataset'):
    """Two parts behind two wrappers, one part by lines."""
    detection = dict(
        type='GroundedODVGDataset',
        data_root=str(folder),
        ann_file='annotations/train_odvg.jsonl',
        label_map_file='annotations/label_map.json',
        data_prefix=dict(img='images/train/'),
        pipeline=[],
    )
    by_line = dict(
        type=kind,
        data_root=str(folder),
        ann_file='annotations/train_odvg.jsonl',
        label_map_file='annotations/label_map.json',
    )
    return DATASETS.build(
        dict(type='ReplaceFailedSamples', dataset=dict(type='ConcatDataset', datasets=[detection, by_line]))
    )


@pytest.fixture
def folder(shapes_dir, tmp_path):
    shutil.copytree(shapes_dir, tmp_path / 'shapes')
    return tmp_path / 'shapes'


def test_what_is_remembered_is_plain_and_survives_a_checkpoint(folder):
    data = describe_data(build(folder))
    assert json.loads(json.dumps(data)) == data
    assert [(part['dataset'], part['samples']) for part in data] == [
        ('GroundedODVGDataset', 27),
        ('IndexedODVGDataset', 27),
    ]
    annotations, labels = (str(folder / f'annotations/{name}') for name in ('train_odvg.jsonl', 'label_map.json'))
    assert [file[0] for file in data[0]['files']] == [annotations, labels]
    assert data[1]['files'] == [data[0]['files'][0]]
    assert differences(data, describe_data(build(folder))) == []


def test_a_moved_folder_is_the_same_data(folder, tmp_path):
    before = describe_data(build(folder))
    folder.rename(tmp_path / 'moved')
    assert differences(before, describe_data(build(tmp_path / 'moved'))) == []


def test_a_lost_line_and_a_changed_letter_are_said(folder):
    before = describe_data(build(folder))
    annotations = folder / 'annotations/train_odvg.jsonl'
    content = annotations.read_text()
    size = len(content)
    lines = content.splitlines(keepends=True)
    annotations.write_text(''.join(lines[:-1]))
    change = f'{annotations} has other content ({size} bytes before, {size - len(lines[-1])} now)'
    assert differences(before, describe_data(build(folder))) == [f'{change}, 27 samples before, 26 now'] * 2
    annotations.write_text(content.replace('red', 'rod', 1))
    assert differences(before, describe_data(build(folder)))[0] == (
        f'{annotations} has other content ({size} bytes before, {size} now)'
    )


def test_another_filter_another_class_and_another_number_are_said(folder):
    before = describe_data(build(folder))
    fewer = [dict(before[0], samples=20), before[1]]
    assert differences(before, fewer) == [f'{before[0]["files"][0][0]} gives other records: 27 samples before, 20 now']
    assert differences(before, [dict(before[0], dataset='CocoDataset'), before[1]]) == [
        'GroundedODVGDataset before, CocoDataset now'
    ]
    assert differences(before, before[:1]) == ['2 data sets before, 1 now']
    without = [dict(before[0], files=before[0]['files'][:1]), before[1]]
    assert differences(before, without) == ['GroundedODVGDataset: 2 annotation files before, 1 now']


def test_a_huge_file_is_judged_by_evenly_spaced_blocks(tmp_path, monkeypatch):
    path = tmp_path / 'huge.jsonl'
    path.write_bytes(bytes(1000))
    monkeypatch.setattr(data_fingerprint, '_WHOLE_BYTES', 999)
    monkeypatch.setattr(data_fingerprint, '_BLOCKS', 3)
    monkeypatch.setattr(data_fingerprint, '_BLOCK_BYTES', 10)

    def digest(changed):
        content = bytearray(1000)
        content[changed] = 1
        path.write_bytes(content)
        return data_fingerprint.describe_file(str(path))[2]

    seen = {place: digest(place) for place in (0, 9, 10, 494, 495, 504, 505, 989, 990, 999)}
    unseen = seen[10]
    assert {place for place, value in seen.items() if value != unseen} == {0, 9, 495, 504, 990, 999}


def test_shards_of_a_stream_are_known_by_name_and_size(tmp_path):
    shards = [tmp_path / f'pairs-{k}.tar' for k in range(2)]
    for shard in shards:
        shard.write_bytes(b'12345')

    class Stream:
        def __init__(self):
            self.shards = [str(shard) for shard in shards]

        def __len__(self):
            return 7

    before = describe_data(Stream())
    assert before[0]['samples'] == 7 and before[0]['files'][0][:2] == [f'2 shards from {shards[0]}', 10]
    shards[1].write_bytes(b'123')
    assert differences(before, describe_data(Stream())) == [
        f'2 shards from {shards[0]} has other content (10 bytes before, 8 now)'
    ]
