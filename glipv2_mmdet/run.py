"""Runs a script of mmdet, or your own, with this plugin in place: python -m glipv2_mmdet.run SCRIPT [ARGUMENTS].

    python -m glipv2_mmdet.run test.py CONFIG CHECKPOINT --tta
    python -m glipv2_mmdet.run analysis_tools/get_flops.py CONFIG
    python -m glipv2_mmdet.run path/to/my_script.py

mmdet's tools import mmdet before they read a config, and so before ``custom_imports`` of that config can repair what
mmdet stands on. Here the plugin is imported first. SCRIPT is a file, or the name of a tool of the installed mmdet, with
or without its folder and ``.py``.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import mmdet

import glipv2_mmdet  # noqa: F401  (the repairs)


def find_script(name: str) -> Path:
    """The file that is meant.

    Args:
        name: path of a script, or a tool of the installed mmdet: 'analysis_tools/get_flops.py', 'get_flops'.

    Raises:
        FileNotFoundError: neither; the message has the nearest tools. Also where two tools have the name.
    """
    if Path(name).is_file():
        return Path(name).resolve()
    tools = Path(mmdet.__file__).resolve().parent / '.mim/tools'
    found = {path.relative_to(tools).with_suffix('').as_posix(): path for path in sorted(tools.rglob('*.py'))}
    wanted = name.removesuffix('.py').removeprefix('tools/')
    matches = [tool for tool in found if tool == wanted] or [tool for tool in found if tool.endswith(f'/{wanted}')]
    if len(matches) == 1:
        return found[matches[0]]
    if matches:
        raise FileNotFoundError(f"'{name}' is the name of {len(matches)} tools. Write one of {', '.join(matches)}.")
    by_file = {tool.rpartition('/')[2]: tool for tool in found}
    near = [by_file[tool] for tool in get_close_matches(wanted.rpartition('/')[2], by_file, n=3)]
    raise FileNotFoundError(
        f"There is no script '{name}', and no tool of that name in {tools}. "
        + (f'Did you mean {" or ".join(near)}?' if near else 'Give the path of a Python file.')
    )


def run_script(name: str, arguments: Sequence[str]) -> None:
    """Run a script as Python does, in this process; ``sys.argv`` and ``sys.path[0]`` are those of the script.

    Args:
        name: see :func:`find_script`.
        arguments: of the script.

    Raises:
        FileNotFoundError: see :func:`find_script`. Whatever the script raises.
    """
    script = str(find_script(name))
    argv, first = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [script, *arguments], str(Path(script).parent)
    try:
        runpy.run_path(script, run_name='__main__')
    finally:
        sys.argv, sys.path[0] = argv, first


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code of the command; 2 where the script is not found."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ('-h', '--help'):
        sys.stderr.write(f'{__doc__}\n')
        return 0 if argv else 2
    try:
        find_script(argv[0])
    except FileNotFoundError as error:
        sys.stderr.write(f'{error}\n')
        return 2
    run_script(argv[0], argv[1:])
    return 0


if __name__ == '__main__':
    sys.exit(main())
