"""Paints samples as the model gets them: python tools/browse_dataset.py CONFIG [--split train] [--output-dir DIR].

The pipeline of the config runs; boxes and masks have the colour of their phrase, the prompt stands below with its
phrases in the same colours, and so do captions, and questions with their answers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import glipv2_mmdet  # noqa: F401

# isort: split
import numpy as np
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from PIL import Image

from glipv2_mmdet.visualization import paint_samples


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--output-dir', type=Path, help='folder for the pictures (default: work_dirs/browse/CONFIG)')
    parser.add_argument('--number', type=int, default=8, help='samples, from all over the data set')
    parser.add_argument('--samples', type=int, nargs='+', help='numbers of samples to paint instead')
    parser.add_argument('--seed', type=int, default=0, help='of flips, crops and drawn class names')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to replace in the config')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    folder = args.output_dir or Path('work_dirs/browse') / Path(args.config).stem
    folder.mkdir(parents=True, exist_ok=True)
    np.random.seed(args.seed)  # what augmentation draws from
    for painted in paint_samples(cfg, args.split, args.number, args.samples):
        file = folder / f'{args.split}_{painted.index:06d}.png'
        Image.fromarray(painted.picture).save(file)
        print(f'{file}: {painted.source}', flush=True)


if __name__ == '__main__':
    main()
