"""``glipv2 segment img.jpg "cat . remote" --out out/``: boxes and masks of what a list of names says."""

from __future__ import annotations

import argparse
from typing import Any

from glipv2_mmdet.cli import detect, options
from glipv2_mmdet.cli.output import emit


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('segment', help='boxes and masks', description=__doc__)
    detect.add_arguments(parser, 'glipv2-t-mask')
    return parser


def run(args: argparse.Namespace) -> None:
    images, prompt = options.images_and_text(args, 'prompt', is_optional=args.tuned_prompt is not None)
    model = options.load_inferencer(args, tuned_prompt=args.tuned_prompt)
    emit(model.segment(images, prompt, nms_iou=args.nms_iou, **options.call_settings(args)), args)
