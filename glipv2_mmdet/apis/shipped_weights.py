"""Weights that come with the package: one file, of GLIPv2-mini, without its text encoder.

The frozen text encoder is MiniLM-L6 as published. It is read from its own package or the Hugging Face cache, checked by
hash, so that 90 MB that others host need not be shipped a second time.
"""

from __future__ import annotations

from pathlib import Path

#: The model that is used where none is named.
DEFAULT_MODEL = 'glipv2-mini'
_FOLDER = Path(__file__).resolve().parents[1] / 'weights'
#: Short name → file below ``glipv2_mmdet/weights``.
SHIPPED_FILES = {DEFAULT_MODEL: 'glipv2_mini.safetensors'}


def shipped_weights(name: str) -> Path | None:
    """The weights file of a short name, or None where the package ships none.

    Raises:
        FileNotFoundError: the file belongs to the package and is not there.
    """
    if name not in SHIPPED_FILES:
        return None
    path = _FOLDER / SHIPPED_FILES[name]
    if not path.is_file():
        raise FileNotFoundError(
            f'The weights of {name} belong to the package, and "{path}" is not there. Install the package again '
            '(pip install --force-reinstall --no-deps).'
        )
    return path
