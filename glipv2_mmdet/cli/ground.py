"""``glipv2 ground img.jpg "a dog chases a ball" --out out/``: boxes of the phrases of a sentence."""

from __future__ import annotations

import argparse
from typing import Any

from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL
from glipv2_mmdet.cli import options


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('ground', help='boxes of the phrases of a sentence', description=__doc__)
    options.add_images(parser)
    parser.add_argument('sentence')
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
    model = options.load_inferencer(args)
    options.emit(
        model.ground(
            args.images,
            args.sentence,
            phrases=-1 if args.whole else args.phrases,
            masks=args.masks,
            **options.call_settings(args),
        ),
        args,
    )
