"""A file is whole or not there, and a full disk is told as one."""

import errno
import os
from pathlib import Path

import pytest

from glipv2_mmdet.files import DiskFullError, atomic_write, remove_leftovers


def write(path, content, **kwargs):
    with atomic_write(path, **kwargs) as file:
        file.write(content)


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / 'new/file.pth'
    with atomic_write(path) as file:
        file.write(b'one')
        assert not path.exists() and [part.name for part in path.parent.iterdir()] == [f'file.pth.{os.getpid()}.tmp']
    assert path.read_bytes() == b'one'
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / 'file.pth'
    write(path, b'earlier')
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write(b'later')
        raise ZeroDivisionError
    assert path.read_bytes() == b'earlier' and list(tmp_path.iterdir()) == [path]


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, 'fsync', lambda number: (done.append(Path(f'/proc/self/fd/{number}').resolve().name), sync(number))
    )
    monkeypatch.setattr(os, 'replace', lambda *names: (done.append('renamed'), replace(*names)))
    write(tmp_path / 'a', b'content')
    assert done == [f'a.{os.getpid()}.tmp', 'renamed', tmp_path.name]


@pytest.mark.parametrize(
    ('number', 'cause'),
    [
        (errno.ENOSPC, r'the disk is full\. It needs 7\.0 MB, and 2\.5 MB are free on that disk'),
        (errno.EDQUOT, r'the disk quota is used up\. It needs 7\.0 MB, and 2\.5 MB are free on that disk'),
        (errno.EFBIG, r'it needs 7\.0 MB, and the largest file this process may write \(ulimit -f\) is smaller'),
    ],
)
def test_no_room_says_what_was_needed_and_what_is_free(tmp_path, monkeypatch, number, cause):
    path = tmp_path / 'iter_4.pth'
    write(path, b'earlier')
    monkeypatch.setattr('shutil.disk_usage', lambda folder: type('Usage', (), dict(free=2_500_000)))
    with (
        pytest.raises(DiskFullError, match=rf'iter_4\.pth could not be written: {cause}\. The partial file is'),
        atomic_write(path, size=7_000_000) as file,
    ):
        file.write(b'a part')
        raise OSError(number, os.strerror(number))
    assert path.read_bytes() == b'earlier' and list(tmp_path.iterdir()) == [path]


def test_another_error_of_the_disk_stays_what_it_is(tmp_path):
    with pytest.raises(PermissionError), atomic_write(tmp_path / 'a'):
        raise PermissionError(errno.EACCES, 'no')


def test_leftovers_of_killed_processes_go_and_other_files_stay(tmp_path):
    names = ('iter_4.pth.123.tmp', 'last_checkpoint.9.tmp', 'notes.tmp', 'iter_4.pth', 'a.tmp.pth')
    for name in names:
        (tmp_path / name).write_bytes(b'x')
    assert [path.name for path in remove_leftovers(tmp_path)] == ['iter_4.pth.123.tmp', 'last_checkpoint.9.tmp']
    assert {path.name for path in tmp_path.iterdir()} == {'notes.tmp', 'iter_4.pth', 'a.tmp.pth'}
