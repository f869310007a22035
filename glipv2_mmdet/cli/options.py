"""Options that commands share, the model they name, and what happens to results."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glipv2_mmdet.apis.model_names import is_shipped

if TYPE_CHECKING:
    from glipv2_mmdet.apis import GLIPv2Inferencer
    from glipv2_mmdet.apis.results import Result

_SUFFIX = '.jpg'
_NO_NAME = 'image'


def add_images(parser: argparse.ArgumentParser, **more: Any) -> None:
    parser.add_argument(
        'images', help='image, folder, pattern in quotes ("shots/*.jpg"), video, or http(s) address', **more
    )


def add_model(parser: argparse.ArgumentParser, default: str) -> None:
    """--model, --weights, --device."""
    group = parser.add_argument_group('model')
    group.add_argument(
        '--model',
        default=default,
        help='short name, config (Python code, which is run), or folder of save_pretrained() (default: %(default)s)',
    )
    group.add_argument(
        '--weights', help='.pth or .safetensors (default: of the package, the folder, or "glipv2 download")'
    )
    group.add_argument('--device', help='cpu, cuda:0, ... (default: the GPU where there is one)')


def add_boxes(parser: argparse.ArgumentParser) -> None:
    """--threshold, --max-boxes."""
    group = parser.add_argument_group('boxes')
    group.add_argument('--threshold', type=float, default=0.3, help='boxes must score more (default: %(default)s)')
    group.add_argument('--max-boxes', type=int, default=100, help='most boxes per image (default: %(default)s)')


def add_output(parser: argparse.ArgumentParser) -> None:
    """--out, --json, --batch-size, --frame-step."""
    group = parser.add_argument_group('output')
    group.add_argument('--out', help='folder for one picture per image and results.json')
    group.add_argument('--json', action='store_true', help='print one json object per image and line')
    group.add_argument('--batch-size', type=int, default=1, help='images that pass through the network together')
    group.add_argument('--frame-step', type=int, default=1, help='take every n-th frame of a video')


def load_inferencer(args: argparse.Namespace, **more: Any) -> GLIPv2Inferencer:
    """The model that --model, --weights and --device name."""
    from glipv2_mmdet.apis import GLIPv2Inferencer

    warn_of_code(args.model)
    return GLIPv2Inferencer(args.model, args.weights, args.device, **more)


def warn_of_code(model: str) -> None:
    """Say that a config which is not the package's own is run."""
    path = Path(model)
    if path.is_file() and not is_shipped(path):
        sys.stderr.write(f'Warning: {path} is Python code and is run; use configs that you trust.\n')


def call_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments that all tasks of the inferencer take."""
    return dict(
        threshold=args.threshold,
        max_boxes=args.max_boxes,
        batch_size=args.batch_size,
        frame_step=args.frame_step,
        stream=True,
        progress=not args.json and sys.stderr.isatty(),
    )


def emit(results: Result | Iterable[Result], args: argparse.Namespace) -> None:
    """Print each result as it comes, and write what --out asks for; nothing is kept in memory."""
    from glipv2_mmdet.apis.results import Result

    results = [results] if isinstance(results, Result) else results
    out = None if args.out is None else Path(args.out)
    records, taken = [], set()
    for result in results:
        sys.stdout.write(f'{result.to_json() if args.json else describe(result)}\n')
        sys.stdout.flush()
        if out is not None:
            picture = result.save(out / _file_name(result.source, taken))
            records.append({**result.to_dict(), 'picture': picture.name})
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / 'results.json').write_text(json.dumps(records, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
        sys.stderr.write(f'{len(records)} pictures and results.json are in {out}\n')


def describe(result: Result) -> str:
    """A result for the eye: the image, then what was found."""
    from glipv2_mmdet.apis.results import Answer, Caption, Detections

    if isinstance(result, Answer):
        listed = ', '.join(f'{answer} {score:.2f}' for answer, score in zip(result.answers, result.scores, strict=True))
        return f'{result.source}: {result.question} {listed}'
    if isinstance(result, Caption):
        return f'{result.source}: {result.text}'
    assert isinstance(result, Detections)
    lines = [f'{result.source}: {len(result)} found']
    for name, score, box in zip(result.names, result.scores, result.boxes, strict=True):
        lines.append(f'  {score:.2f}  {name}  [{", ".join(f"{side:.0f}" for side in box)}]')
    return '\n'.join(lines)


def _file_name(source: str, taken: set[str]) -> str:
    """A name for the picture of a result; images of the same name from different folders stay apart."""
    name, frame = source, ''
    if '#' in source and source.rsplit('#', 1)[1].isdigit():
        name, number = source.rsplit('#', 1)
        frame = f'_{int(number):06d}'
    stem = Path(name.split('?')[0]).stem or _NO_NAME
    candidate, count = f'{stem}{frame}{_SUFFIX}', 1
    while candidate in taken:
        count += 1
        candidate = f'{stem}{frame}_{count}{_SUFFIX}'
    taken.add(candidate)
    return candidate
