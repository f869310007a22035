"""A run folder is only reused for what it was made from, and nothing in it is deleted."""

import json
import shutil
from dataclasses import replace

import pytest

from glipv2_mmdet.apis.finetuning_config import FinetuneSettings
from glipv2_mmdet.apis.finetuning_record import RECORD, OtherRunError, check_reuse, move_data, write_record
from glipv2_mmdet.datasets.own_data import OwnData

CLASSES = ('red circle', 'blue square')


def make_data(folder, classes=CLASSES, x=3.0, images='/photos') -> OwnData:
    folder.mkdir(exist_ok=True)
    files = {}
    for split in ('train', 'valid'):
        content = dict(
            images=[dict(id=1, file_name=f'{images}/1.jpg', width=9, height=9)],
            annotations=[dict(id=1, image_id=1, category_id=1, bbox=[x if split == 'valid' else 1.0, 1, 4, 4])],
            categories=[dict(id=k, name=name) for k, name in enumerate(classes, start=1)],
        )
        files[split] = folder / f'{split}.json'
        files[split].write_text(json.dumps(content))
    return OwnData(classes, files, ())


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data')


@pytest.fixture
def settings(tmp_path) -> FinetuneSettings:
    (tmp_path / 'config.py').write_text("model = dict(type='GLIPv2')\n")
    (tmp_path / 'base.pth').write_bytes(b'weights')
    return FinetuneSettings(str(tmp_path / 'config.py'), str(tmp_path / 'base.pth'), str(tmp_path / 'runs'))


def leave_run(settings, data, finished):
    write_record(settings, data)
    if finished:
        (settings.run_dir / 'result.json').write_text('{}')
    else:
        (settings.run_dir / 'iter_100.pth').write_text('precious')


def test_an_empty_folder_may_be_used(settings, data):
    for resume in (False, True):
        check_reuse(settings, data, resume)
    settings.run_dir.mkdir(parents=True)
    (settings.run_dir / 'log.txt').write_text('of a run that ended before its first checkpoint')
    check_reuse(settings, data, resume=False)


@pytest.mark.parametrize('finished', [True, False])
def test_the_same_command_without_resume_deletes_nothing(settings, data, finished):
    leave_run(settings, data, finished)
    before = sorted(settings.run_dir.iterdir())
    what = 'a finished run. Give --resume to keep it' if finished else 'an unfinished run .iter_100.pth.. Give --resume'
    with pytest.raises(FileExistsError, match=what):
        check_reuse(settings, data, resume=False)
    assert sorted(settings.run_dir.iterdir()) == before
    check_reuse(settings, data, resume=True)


@pytest.mark.parametrize('finished', [True, False])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(lr=0.1), r'lr null before, 0\.1 now'),
        (dict(steps=7), 'steps null before, 7 now'),
        (dict(batch_size=2), 'batch_size 4 before, 2 now'),
        (dict(overrides={'red circle': {'name': 'dot'}}), 'overrides {} before, {"red circle"'),
    ],
)
def test_other_settings_are_refused(settings, data, finished, change, message):
    leave_run(settings, data, finished)
    with pytest.raises(OtherRunError, match=f'has a run of other inputs: {message}.*give another folder'):
        check_reuse(replace(settings, **change), data, resume=True)


@pytest.mark.parametrize('finished', [True, False])
def test_other_data_base_or_config_are_refused(settings, data, tmp_path, finished):
    leave_run(settings, data, finished)
    with pytest.raises(OtherRunError, match=r'classes \["red circle", "blue square"\] before, \["zebra", "blue sq'):
        check_reuse(settings, make_data(tmp_path / 'data', ('zebra', 'blue square')), resume=True)
    with pytest.raises(OtherRunError, match=r'inputs: the data have other content \(valid\)\. Put them back'):
        check_reuse(settings, make_data(tmp_path / 'data', x=2.0), resume=True)
    data = make_data(tmp_path / 'data')
    (tmp_path / 'base.pth').write_bytes(b'others!')
    with pytest.raises(OtherRunError, match='inputs: the base has other content'):
        check_reuse(settings, data, resume=True)
    (tmp_path / 'base.pth').write_bytes(b'weights')
    (tmp_path / 'config.py').write_text("model = dict(type='GLIPv2', more=1)\n")
    with pytest.raises(OtherRunError, match='inputs: the config has other content'):
        check_reuse(settings, data, resume=True)


def test_what_only_moved_or_does_not_matter_is_the_same(settings, data, tmp_path):
    leave_run(settings, data, finished=True)
    shutil.move(tmp_path / 'base.pth', tmp_path / 'moved.pth')
    moved = replace(settings, base=str(tmp_path / 'moved.pth'), workers=2, num_pictures=0)
    check_reuse(moved, make_data(tmp_path / 'elsewhere', images='/other/photos'), resume=True)


def test_a_finished_run_of_an_earlier_version_is_compared_by_its_figures(settings, data):
    leave_run(settings, data, finished=True)
    (settings.run_dir / RECORD).unlink()
    (settings.run_dir / 'result.json').write_text(
        json.dumps(dict(classes=['zebra'], mode='prompt', shots=None, seed=3))
    )
    with pytest.raises(OtherRunError, match=r'classes \["zebra"\] before'):
        check_reuse(settings, data, resume=True)


def test_data_are_moved_whole(data, tmp_path):
    moved = move_data(data, tmp_path / 'there')
    assert moved.ann_files == {split: tmp_path / 'there' / f'{split}.json' for split in ('train', 'valid')}
    assert all(file.is_file() for file in moved.ann_files.values())
    assert not any(file.exists() for file in data.ann_files.values())
