"""Names for pictures of images that lie in different folders and may be called the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath


def free_name(source: str, suffix: str, is_free: Callable[[str], bool]) -> str:
    """``frame.jpg``, or ``frame_2.jpg``, ``frame_3.jpg``, ... where that is taken.

    Args:
        source: path of the image.
        suffix: of the picture, such as '.png'.
        is_free: whether a name may be had; it is asked for each until it says so, and takes that one.
    """
    stem, count = PurePath(source).stem, 1
    name = f'{stem}{suffix}'
    while not is_free(name):
        count += 1
        name = f'{stem}_{count}{suffix}'
    return name


def claim_in(folder: Path) -> Callable[[str], bool]:
    """Takes names by making empty files in ``folder``, so that several processes never take the same one."""

    def claim(name: str) -> bool:
        try:
            (folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    return claim
