"""``glipv2 detect img.jpg "cat . remote" --out out/``: boxes of what a list of names says."""

from __future__ import annotations

import argparse
from typing import Any

from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL
from glipv2_mmdet.cli import options
from glipv2_mmdet.cli.output import emit


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('detect', help='boxes of what a list of names says', description=__doc__)
    add_arguments(parser, DEFAULT_MODEL)
    return parser


def add_arguments(parser: argparse.ArgumentParser, model: str) -> None:
    """What ``detect`` and ``segment`` share."""
    options.add_images(parser, 'prompt', 'names with " . " between them; none with --tuned-prompt')
    options.add_model(parser, model)
    parser.add_argument('--tuned-prompt', help='file of tools/finetune.py --mode prompt')
    options.add_boxes(parser)
    parser.add_argument('--nms-iou', type=float, help='boxes of one name that overlap more are dropped')
    options.add_output(parser)


def run(args: argparse.Namespace) -> None:
    images, prompt = options.images_and_text(args, 'prompt', is_optional=args.tuned_prompt is not None)
    model = options.load_inferencer(args, tuned_prompt=args.tuned_prompt)
    emit(model.detect(images, prompt, nms_iou=args.nms_iou, **options.call_settings(args)), args)
