"""What the readers of labelled folders share: their error, names of splits, images and text files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from glipv2_mmdet.image_reading import ImageInputError, read_head

SPLITS = ('train', 'valid', 'test')
#: Words that name a split; a name is of a split when one of its words is, 'instances_train2017' but not 'latest'.
SPELLINGS = {'train': ('train', 'training'), 'valid': ('valid', 'val', 'validation'), 'test': ('test', 'testing')}
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
_WORD = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+')


class OwnDataError(ValueError):
    """A data folder that cannot be used; the message names file, value and fix."""


def splits_in(name: str) -> list[str]:
    """Splits that the words of a file or folder name say, such as ['train'] for 'instances_train2017'."""
    words = {word.lower() for word in _WORD.findall(name)}
    return [split for split, spellings in SPELLINGS.items() if words & {*spellings}]


def files_of_splits(files: Iterable[Path], where: Path) -> dict[str, Path]:
    """The file of each split, by the words of its name; 'trainval' is training where nothing else is.

    Raises:
        OwnDataError: a name with two splits, or two files for one.
    """
    found: dict[str, list[Path]] = {}
    files = list(files)
    for file in files:
        splits = splits_in(file.stem)
        if len(splits) > 1:
            raise OwnDataError(
                f'"{file.name}" in "{where}" could be {" or ".join(splits)}: its name has the words of both. Rename it '
                f'to {splits[0]}{file.suffix}.'
            )
        for split in splits:
            found.setdefault(split, []).append(file)
    if 'train' not in found:
        both = [file for file in files if 'trainval' in _WORD.findall(file.stem.lower())]
        found |= {'train': both} if both else {}
    chosen = {}
    for split, candidates in found.items():
        exact = [file for file in candidates if file.stem.lower() in SPELLINGS[split]]
        if len(candidates) > 1 and len(exact) != 1:
            raise OwnDataError(
                f'{len(candidates)} files in "{where}" could be the {split} split: '
                f'{[file.name for file in candidates]}. Name the right one {SPELLINGS[split][0]}{candidates[0].suffix}.'
            )
        chosen[split] = exact[0] if len(candidates) > 1 else candidates[0]
    return {split: chosen[split] for split in SPLITS if split in chosen}


def is_file(path: Path) -> bool:
    """Whether it is a regular file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def image_files(folder: Path) -> list[Path]:
    """Images below a folder, sorted."""
    return sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES and is_file(path))


def image_of_stem(stem: str, folders: Sequence[Path]) -> list[Path]:
    """Images with that name and any ending, in the first folder that has one."""
    for folder in folders:
        found = [folder / f'{stem}{end}' for suffix in IMAGE_SUFFIXES for end in (suffix, suffix.upper())]
        found = [path for path in found if is_file(path)]
        if found:
            return found
    return []


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright image, from the head of the file.

    Raises:
        OwnDataError: it cannot be read.
    """
    try:
        return read_head(path).size
    except (ImageInputError, OSError) as error:
        raise OwnDataError(f'{error} Replace or remove it.') from error


def text_of(file: Path) -> str:
    """A text file in UTF-8; a byte order mark is dropped.

    Raises:
        OwnDataError: another encoding.
    """
    try:
        return file.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise OwnDataError(f'{file}: not UTF-8 ({error}). Save the file as UTF-8.') from error
