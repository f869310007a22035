"""``glipv2 ground img.jpg "a dog chases a ball" --out out/``: boxes of the phrases of a sentence."""

from __future__ import annotations

import argparse
from typing import Any

from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL
from glipv2_mmdet.cli import options
from glipv2_mmdet.cli.output import emit


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('ground', help='boxes of the phrases of a sentence', description=__doc__)
    options.add_images(parser, 'sentence', 'its phrases are looked for')
    phrases = parser.add_mutually_exclusive_group()
    phrases.add_argument(
        '--phrases', nargs='+', metavar='WORDS', help='words of the sentence to look for (default: its noun phrases)'
    )
    phrases.add_argument('--whole', action='store_true', help='look for what the sentence as a whole refers to')
    options.add_model(parser, DEFAULT_MODEL)
    parser.add_argument('--masks', action='store_true', help='masks, too')
    options.add_boxes(parser)
    options.add_output(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    images, sentence = options.images_and_text(args, 'sentence')
    model = options.load_inferencer(args)
    emit(
        model.ground(
            images,
            sentence,
            phrases=-1 if args.whole else args.phrases,
            masks=args.masks,
            **options.call_settings(args),
        ),
        args,
    )
