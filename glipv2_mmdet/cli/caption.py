"""``glipv2 caption img.jpg ...``: a sentence about each image."""

from __future__ import annotations

import argparse
from typing import Any

from glipv2_mmdet.cli import options
from glipv2_mmdet.cli.output import emit


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('caption', help='a sentence about an image', description=__doc__)
    options.add_images(parser)
    options.add_model(parser, 'glipv2-t-caption')
    parser.add_argument('--beam-size', type=int, help='captions that the search follows (default: as in the config)')
    parser.add_argument('--max-words', type=int, help='longest caption (default: as in the config)')
    options.add_boxes(parser)
    options.add_output(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    model = options.load_inferencer(args)
    images = args.images if len(args.images) > 1 else args.images[0]
    emit(model.caption(images, beam_size=args.beam_size, max_words=args.max_words, **options.call_settings(args)), args)
