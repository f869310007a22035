"""``glipv2 export --model CONFIG --weights FILE --out FOLDER``: files that run without this package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL
from glipv2_mmdet.cli import options


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('export', help='ONNX files or a torch.export program', description=__doc__)
    options.add_model(parser, DEFAULT_MODEL)
    parser.add_argument('--out', required=True, help='folder for the files')
    parser.add_argument(
        '--format',
        choices=('onnx', 'pt2'),
        default='onnx',
        help='onnx: any image size, with a runner; pt2: torch.export (default: %(default)s)',
    )
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument('--classes', help='names with " . " between them, folded in: the text encoder is left out')
    prompt.add_argument('--tuned-prompt', help='file of a tuned prompt to fold in')
    parser.add_argument(
        '--image-size', type=int, nargs=2, metavar=('H', 'W'), help='network input of a pt2 program, padding included'
    )
    return parser


def run(args: argparse.Namespace) -> None:
    if (args.format == 'pt2') != (args.image_size is not None):
        raise ValueError(
            f'--format is {args.format}, --image-size {args.image_size}. A pt2 program is for one size '
            'and needs --image-size; onnx files are for every size and take none.'
        )
    from glipv2_mmdet.apis.model_loading import load_model
    from glipv2_mmdet.export import export_onnx, export_program
    from glipv2_mmdet.text import parse_prompt

    options.warn_of_code(args.model)
    loaded = load_model(args.model, args.weights, 'cpu')
    if args.tuned_prompt:
        loaded.model.set_prompt(args.tuned_prompt)
    names = parse_prompt(args.classes, custom_entities=True).names if args.classes else None
    fixed = bool(args.classes or args.tuned_prompt)
    if args.format == 'onnx':
        path = export_onnx(loaded.model, loaded.pipeline, args.out, names, fixed)
    else:
        path = export_program(
            loaded.model, loaded.pipeline, Path(args.out) / 'detector.pt2', args.image_size, names, fixed
        )
    sys.stdout.write(f'{path}\n')
