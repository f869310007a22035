"""Shows where each word of a prompt matches: python tools/show_heatmaps.py CONFIG CHECKPOINT IMAGE PROMPT.

PROMPT is 'cat . remote', or a sentence with --sentence. One tinted copy of the image per word, all on one scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import glipv2_mmdet  # noqa: F401

# isort: split
from mmdet.apis import init_detector
from mmengine.config import DictAction
from PIL import Image

from glipv2_mmdet.visualization import draw_word_heatmaps, word_heatmaps


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('image')
    parser.add_argument('prompt', help="class names 'cat . remote', or a sentence")
    parser.add_argument('--sentence', action='store_true', help='the prompt is a sentence')
    parser.add_argument('--phrases', action='store_true', help='one map per phrase instead of one per word')
    parser.add_argument('--out', type=Path, default=Path('heatmaps.png'))
    parser.add_argument('--columns', type=int, default=4, help='tiles per row')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to replace in the config')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    model = init_detector(
        args.config, args.checkpoint, palette='random', device=args.device, cfg_options=args.cfg_options
    )
    heatmaps = word_heatmaps(
        model, args.image, args.prompt, custom_entities=not args.sentence, whole_phrases=args.phrases
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_word_heatmaps(heatmaps, args.columns)).save(args.out)
    for name, values in zip(heatmaps.names, heatmaps.values, strict=True):
        print(f'{name}: at most {float(values.max()):.3f}')
    print(f'written to {args.out}')


if __name__ == '__main__':
    main()
