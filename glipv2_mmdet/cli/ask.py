"""``glipv2 ask img.jpg "how many cats are there?"``: the answer to a question."""

from __future__ import annotations

import argparse
from typing import Any

from glipv2_mmdet.cli import options
from glipv2_mmdet.cli.output import emit


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('ask', help='the answer to a question', description=__doc__)
    options.add_images(parser, 'question', 'about each image')
    options.add_model(parser, 'glipv2-t-vqa')
    parser.add_argument('--answers', type=int, default=5, help='how many answers to list (default: %(default)s)')
    options.add_boxes(parser)
    options.add_output(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    images, question = options.images_and_text(args, 'question')
    model = options.load_inferencer(args)
    emit(model.ask(images, question, num_answers=args.answers, **options.call_settings(args)), args)
