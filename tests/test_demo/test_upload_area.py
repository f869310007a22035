"""The folder of uploads: what is inside, how long, and that it goes away."""

import os
import stat
import time
from pathlib import Path

import pytest

from glipv2_mmdet.demo.upload_area import UploadArea, private_area


@pytest.fixture
def area(tmp_path: Path) -> UploadArea:
    (tmp_path / 'area').mkdir()
    (tmp_path / 'secret.txt').write_text('secret')
    (tmp_path / 'area-2').mkdir()
    (tmp_path / 'area-2' / 'a.png').write_text('of another demo')
    return UploadArea(tmp_path / 'area', most_bytes=10, seconds_kept=100)


def write(area: UploadArea, name: str, content: str = 'x', age: float = 0) -> Path:
    path = area.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_only_files_below_the_folder_belong_to_it(area: UploadArea) -> None:
    inside = write(area, 'upload/a.png')
    assert area.contains(inside) and area.contains(str(inside))
    assert area.contains(area.folder / 'upload' / '..' / 'upload' / 'a.png')
    (area.folder / 'link.png').symlink_to(area.folder.parent / 'secret.txt')
    (area.folder / 'circle').symlink_to(area.folder / 'circle')
    for outside in (
        '/etc/passwd',
        '../secret.txt',
        f'{area.folder}/../secret.txt',
        f'{area.folder}/upload/../../secret.txt',
        f'{area.folder}-2/a.png',
        area.folder / 'link.png',
        area.folder / 'circle',
        area.folder,
        area.folder / 'upload',
        'http://example.org/a.png',
        f'{inside}\x00',
        '',
        'a' * 10_000,
        '~/a.png',
    ):
        assert not area.contains(outside), outside


def test_old_files_are_swept_and_examples_stay(area: UploadArea, monkeypatch: pytest.MonkeyPatch) -> None:
    example = write(area, 'examples/a.png')
    area.keep_present()
    upload = write(area, 'upload/a.png')
    area.sweep()
    assert upload.exists()
    now = time.time()
    monkeypatch.setattr(time, 'time', lambda: now + 99)
    area.sweep()
    assert upload.exists()
    monkeypatch.setattr(time, 'time', lambda: now + 200)
    area.sweep()
    assert not upload.exists() and example.exists()
    area.sweep()
    assert not upload.parent.exists() and example.parent.exists()


def test_full_at_its_size(area: UploadArea) -> None:
    assert not area.is_full()
    write(area, 'a', '123456789')
    assert not area.is_full()
    write(area, 'sub/b', '1')
    assert area.is_full()


def test_full_at_its_number_of_files(area: UploadArea) -> None:
    area.most_files = 3
    for name in ('a', 'sub/b'):
        write(area, name, '')
    assert not area.is_full()
    write(area, 'other/c', '')
    assert area.is_full()


def test_results_do_not_meet(area: UploadArea) -> None:
    first, second = area.new_file('answer.json'), area.new_file('answer.json')
    assert first != second and first.name == second.name == 'answer.json'
    first.write_text('1')
    assert area.contains(first)


@pytest.mark.parametrize('before', [None, '/somewhere'])
def test_a_private_area_ends_with_its_block(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    monkeypatch.delenv('GRADIO_TEMP_DIR', raising=False)
    if before:
        monkeypatch.setenv('GRADIO_TEMP_DIR', before)
    with pytest.raises(KeyError), private_area(10, 10) as area:
        assert os.environ['GRADIO_TEMP_DIR'] == str(area.folder)
        assert stat.S_IMODE(area.folder.stat().st_mode) == 0o700
        (area.folder / 'a').write_text('x')
        raise KeyError
    assert not area.folder.exists()
    assert os.environ.get('GRADIO_TEMP_DIR') == before
