"""Every byte of a checkpoint counts, and the newest one without damage is found."""

import os
import pickle
import random
import zipfile

import pytest
import torch

from glipv2_mmdet.checkpoints import CheckpointError
from glipv2_mmdet.engine.whole_checkpoints import find_damage, newest_whole, require_whole


class Stranger:
    """A class that torch refuses to load."""


def save(path, number=0):
    torch.save(dict(state_dict=dict(weight=torch.arange(500.0) + number), meta=dict(iter=number)), path)
    return path


def test_a_saved_checkpoint_is_whole_and_every_cut_is_found(tmp_path):
    content = save(tmp_path / 'whole.pth').read_bytes()
    assert find_damage(tmp_path / 'whole.pth') is None
    cut = tmp_path / 'cut.pth'
    for length in (*range(0, len(content), 97), len(content) - 1):
        cut.write_bytes(content[:length])
        assert find_damage(cut) == (
            'the file is empty' if not length else f'it was cut off: its end is missing, {length / 1e6:.1f} MB are left'
        ), length


def test_every_bit_of_the_content_is_watched_and_torch_alone_watches_none(tmp_path):
    path = save(tmp_path / 'a.pth')
    content = path.read_bytes()
    start = content.index(torch.arange(500.0).numpy().tobytes())
    rng = random.Random(0)
    for _ in range(50):
        changed = bytearray(content)
        changed[start + rng.randrange(2000)] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        assert 'its check sums do not fit: "a/data/0" has other bytes' in find_damage(path)
    assert not torch.equal(torch.load(path)['state_dict']['weight'], torch.arange(500.0))  # why this file exists


def test_no_flipped_bit_makes_the_check_itself_fail(tmp_path):
    """Anywhere: headers and table of contents too. A bit that matters to nobody may stay."""
    path = save(tmp_path / 'a.pth')
    content, rng = path.read_bytes(), random.Random(1)
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        if find_damage(path) is None:
            assert torch.equal(torch.load(path)['state_dict']['weight'], torch.arange(500.0))


def test_what_is_no_archive_or_cannot_be_judged(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'<html>404')
    assert find_damage(path) == 'it is no checkpoint: it starts with the bytes 3c 68 74 6d'
    torch.save(dict(a=1), path, _use_new_zipfile_serialization=False)
    assert find_damage(path) is None
    torch.save(Stranger(), path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path)
    assert find_damage(path) is None  # whole; whether to trust it is another question
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    assert find_damage(path).startswith('torch cannot read it (')


def test_a_damaged_file_that_was_named_is_refused(tmp_path):
    path = save(tmp_path / 'iter_4.pth')
    require_whole(path)
    os.truncate(path, 100)
    with pytest.raises(
        CheckpointError,
        match=r'iter_4\.pth is damaged: it was cut off: its end is missing, 0\.0 MB '
        'are left. Copy or download it again',
    ):
        require_whole(path)


@pytest.fixture
def folder(tmp_path):
    for number in (2, 4, 10):
        save(tmp_path / f'iter_{number}.pth', number)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_10.pth'))
    return tmp_path


def newest(folder):
    path = newest_whole(folder, 'iter_{}.pth', folder)
    return path and path.name


def test_the_newest_is_taken_by_its_number(folder):
    save(folder / 'best_coco_bbox_mAP_iter_12.pth')
    save(folder / 'epoch_12.pth')
    assert newest(folder) == 'iter_10.pth'
    (folder / 'last_checkpoint').write_text('')
    assert newest(folder) == 'iter_10.pth'


def test_damaged_ones_are_skipped_with_a_warning(folder, caplog, monkeypatch):
    warnings = []
    monkeypatch.setattr('glipv2_mmdet.engine.whole_checkpoints.print_log', lambda text, **_: warnings.append(text))
    os.truncate(folder / 'iter_10.pth', 0)
    os.truncate(folder / 'iter_4.pth', 700)
    assert newest(folder) == 'iter_2.pth'
    assert warnings == [
        f'Skipped {folder}/iter_10.pth: the file is empty; {folder}/iter_4.pth: it was cut off: its '
        f'end is missing, 0.0 MB are left. The run goes on from {folder}/iter_2.pth.'
    ]


def test_a_checkpoint_that_was_saved_when_the_kill_came_counts_and_one_of_another_run_does_not(folder):
    (folder / 'last_checkpoint').write_text('elsewhere/iter_4.pth')
    note = (folder / 'last_checkpoint').stat().st_mtime_ns
    os.utime(folder / 'iter_10.pth', ns=(note - 1, note - 1))
    assert newest(folder) == 'iter_4.pth'
    os.utime(folder / 'iter_10.pth', ns=(note + 1, note + 1))
    assert newest(folder) == 'iter_10.pth'


def test_none_yet_is_no_error_but_none_whole_is(folder, tmp_path_factory):
    assert newest(tmp_path_factory.mktemp('empty')) is None
    for path in folder.glob('iter_*.pth'):
        os.truncate(path, 5)
    with pytest.raises(CheckpointError, match=r'No checkpoint in .* is whole.*iter_10.*iter_4.*iter_2.*--resume FILE'):
        newest(folder)
    for path in folder.glob('iter_*.pth'):
        path.unlink()
    with pytest.raises(CheckpointError, match=r'iter_10\.pth: there is no such file'):
        newest(folder)
