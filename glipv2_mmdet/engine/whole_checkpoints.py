"""Which checkpoint of a run is whole.

A checkpoint is a zip archive with a check sum (CRC-32) per tensor. ``torch.load`` does not look at the check sums: a
flipped bit becomes a wrong weight, silently. So they are compared here, which costs one reading of the file.
"""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.logging import print_log
from safetensors import SafetensorError, safe_open

from glipv2_mmdet.checkpoints import CheckpointError
from glipv2_mmdet.files import megabytes

LAST_CHECKPOINT = 'last_checkpoint'
# what reading a file of arbitrary bytes as a zip archive or as a checkpoint has been seen to raise
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
)


def find_damage(path: str | Path) -> str | None:
    """What is wrong with a checkpoint file, in words; None when it is whole.

    Files of torch before 1.6, which are no archives and have no check sums, count as whole. So does an archive that
    torch refuses as unsafe: its bytes are as they were written, and whether to trust it is not decided here. Of
    ``.safetensors``, which have no check sums either, the length is compared with what the head says.
    """
    path = Path(path)
    size = path.stat().st_size
    if not size:
        return 'the file is empty'
    if path.suffix == '.safetensors':
        return _damage_of_safetensors(path)
    with open(path, 'rb') as file:
        start = file.read(4)
    if start[:1] == b'\x80':  # a pickle
        return None
    if not start.startswith(b'PK'):
        return f'it is no checkpoint: it starts with the bytes {start.hex(" ")}'
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken:
            return f'its check sums do not fit: "{broken}" has other bytes than were written'
    except _DAMAGE as error:
        if 'not a zip file' in str(error):
            return f'it was cut off: its end is missing, {megabytes(size)} are left'
        return f'its table of contents is broken ({type(error).__name__}: {error})'
    try:
        torch.load(path, map_location='meta', weights_only=True)
    except pickle.UnpicklingError:
        return None
    except _DAMAGE as error:
        return f'torch cannot read it ({type(error).__name__}: {error})'
    return None


def _damage_of_safetensors(path: Path) -> str | None:
    try:
        with safe_open(path, framework='pt'):  # maps the file and reads its head
            return None
    except SafetensorError as error:
        return f'it cannot be read as safetensors ({error})'


def require_whole(path: str | Path) -> None:
    """Refuse a damaged checkpoint that somebody named.

    Raises:
        CheckpointError: it is damaged.
    """
    damage = find_damage(path)
    if damage:
        raise CheckpointError(
            f'Checkpoint {path} is damaged: {damage}. Copy or download it again, or name an earlier '
            'one; --resume without a file takes the newest whole one of the work folder.'
        )


def newest_whole(folder: str | Path, filename_template: str, work_dir: str | Path) -> Path | None:
    """The checkpoint to go on from. Damaged ones are skipped with a warning.

    Args:
        folder: where the run's checkpoints are.
        filename_template: their names, such as 'iter_{}.pth'.
        work_dir: where the file ``last_checkpoint`` is.

    Returns:
        None when the run has not written any checkpoint.

    Raises:
        CheckpointError: there are checkpoints, and none is whole.
    """
    problems = []
    for path in _newest_first(Path(folder), filename_template, Path(work_dir) / LAST_CHECKPOINT):
        damage = find_damage(path) if path.is_file() else 'there is no such file'
        if damage is None:
            if problems:
                print_log(
                    f'Skipped {"; ".join(problems)}. The run goes on from {path}.',
                    logger='current',
                    level=logging.WARNING,
                )
            return path
        problems.append(f'{path}: {damage}')
    if problems:
        raise CheckpointError(
            f'No checkpoint in {folder} is whole. {"; ".join(problems)}. Name a checkpoint of '
            'another folder (--resume FILE), or remove these files to start from the beginning.'
        )
    return None


def read_note(note: Path) -> str:
    """The path in a file ``last_checkpoint``; empty where there is no such file, or no text in it.

    The note only says where to look first, so a damaged one is passed over.
    """
    try:
        return note.read_text(encoding='utf-8').strip() if note.is_file() else ''
    except UnicodeDecodeError:
        print_log(f'{note} is no text; it is passed over.', logger='current', level=logging.WARNING)
        return ''


def require_place_for_note(note: Path) -> None:
    """Refuse, before anything is trained, what stands in the way of the file ``last_checkpoint``.

    Raises:
        CheckpointError: a folder has its name.
    """
    if note.is_dir():
        raise CheckpointError(
            f'"{note}" is a folder, and the run writes a file of that name at every checkpoint. Remove or rename it.'
        )


def _newest_first(folder: Path, template: str, note: Path) -> Iterator[Path]:
    """Checkpoints by their number, from the one that ``last_checkpoint`` names on down.

    A higher number comes first if it was written after that note: the run was killed between the two. An older file
    with a higher number was left by another run.
    """
    before, _, after = template.partition('{}')
    numbered = {}
    for path in folder.glob(f'{before}*{after}'):
        number = path.name[len(before) : len(path.name) - len(after)]
        if number.isdecimal():
            numbered[int(number)] = path
    named = read_note(note)
    last = next((number for number, path in numbered.items() if named and path.name == Path(named).name), None)
    for number in sorted(numbered, reverse=True):
        if last is None or number <= last or numbered[number].stat().st_mtime_ns >= note.stat().st_mtime_ns:
            yield numbered[number]
    if named and last is None:
        yield Path(named)
