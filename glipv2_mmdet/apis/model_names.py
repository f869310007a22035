"""Short names of models → the configs that the package ships."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from mmengine.logging import print_log

_PACKAGE = Path(__file__).resolve().parents[1]

#: Name → config below ``configs/glipv2``.
MODEL_CONFIGS = {
    # its weights come with the package
    'glipv2-mini': 'glipv2_mini_pretrain_stage2.py',
    'glipv2-t': 'glipv2_t_coco_zero_shot.py',
    'glipv2-t-mask': 'glipv2_t_coco_masks.py',
    'glipv2-t-vqa': 'glipv2_t_vqa.py',
    'glipv2-t-grounded-vqa': 'glipv2_t_grounded_vqa.py',
    'glipv2-t-caption': 'glipv2_t_caption.py',
    'glipv2-t-grounded-caption': 'glipv2_t_grounded_caption.py',
    'glipv2-b': 'glipv2_b_coco_zero_shot.py',
    'glipv2-b-vqa': 'glipv2_b_vqa.py',
    'glipv2-b-caption': 'glipv2_b_caption.py',
    'glipv2-h': 'glipv2_h_coco_zero_shot.py',
    'glipv2-h-vqa': 'glipv2_h_vqa.py',
    'glipv2-h-caption': 'glipv2_h_caption.py',
    # public weights: glipv2 download NAME
    'glip-t-a': 'glip_t_a.py',
    'glip-t-b': 'glip_t_b.py',
    'glip-t-c': 'glip_t_c.py',
    'glip-t': 'glip_t.py',
    'glip-l': 'glip_l.py',
    # laptop scale, trained on the embedded "shapes" data
    'glipv2-nano': 'glipv2_nano_shapes_pretrain.py',
    'glipv2-nano-mask': 'glipv2_nano_shapes_masks.py',
    'glipv2-nano-vqa': 'glipv2_nano_shapes_vqa.py',
    'glipv2-nano-grounded-vqa': 'glipv2_nano_shapes_grounded_vqa.py',
    'glipv2-nano-caption': 'glipv2_nano_shapes_caption.py',
    'glipv2-nano-grounded-caption': 'glipv2_nano_shapes_grounded_caption.py',
}


def configs_dir() -> Path:
    """The shipped configs: beside the package in a checkout, inside it (``.mim``) where it was installed.

    Raises:
        FileNotFoundError: neither is there.
    """
    for folder in (_PACKAGE.parent / 'configs', _PACKAGE / '.mim' / 'configs'):
        if (folder / 'glipv2').is_dir():
            return folder
    raise FileNotFoundError(
        f'The configs of glipv2_mmdet are not in "{_PACKAGE}/.mim". Install the package again '
        "(pip install --force-reinstall --no-deps), or give a config's path."
    )


def config_of(name: str) -> Path:
    """The config of a short name, or of the name of a shipped config without its ``.py``.

    Raises:
        ValueError: no model has that name.
    """
    if name not in MODEL_CONFIGS:
        for file in (configs_dir() / 'glipv2').rglob('*.py'):
            if file.stem == name:
                return file
        raise ValueError(
            f'There is no model "{name}", and no such file or folder. Expected one of '
            f'{", ".join(MODEL_CONFIGS)}, the path of a config (.py), or a folder of save_pretrained().'
        )
    return configs_dir() / 'glipv2' / MODEL_CONFIGS[name]


def is_shipped(config: Path) -> bool:
    """Whether a config file is one of the package's own."""
    return config.resolve().is_relative_to(configs_dir().resolve())


def tell_if_foreign(config: str | PathLike) -> None:
    """Say that a config is code and is run, where it is neither the package's nor below the working directory.

    Whoever works on a project writes configs all day and knows; whoever opens one that came with a download may not.
    """
    path = Path(config)
    if path.is_file() and not is_shipped(path) and not path.resolve().is_relative_to(Path.cwd().resolve()):
        print_log(f'{path} is Python code and is run; use configs that you trust.', logger='current')


def names_with(words: Iterable[str]) -> list[str]:
    """Names of models for a message: those that end in one of ``words``, the smallest scale last."""
    return [name for name in MODEL_CONFIGS if name.endswith(tuple(words))]
