"""Options that commands share, and the model that they name."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glipv2_mmdet.apis.model_names import is_shipped

if TYPE_CHECKING:
    from glipv2_mmdet.apis import GLIPv2Inferencer

_IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.mp4', '.avi', '.mov', '.mkv')
_EXAMPLES = {'prompt': 'cat . dog', 'sentence': 'a dog chases a ball', 'question': 'how many cats are there?'}


def add_images(parser: argparse.ArgumentParser, text: str | None = None, text_help: str = '') -> None:
    """One image or more and, behind them, the ``text`` that a command needs; :func:`images_and_text` reads both."""
    of_text = f', then the {text}: {text_help}' if text else ''
    parser.add_argument(
        'images',
        nargs='+',
        metavar='IMAGE' if text is None else f'IMAGE [IMAGE ...] {text.upper()}',
        help=f'images, folders, patterns in quotes ("shots/*.jpg"), a video, or http(s) addresses{of_text}',
    )


def images_and_text(args: argparse.Namespace, text: str, is_optional: bool = False) -> tuple[Any, str | None]:
    """The images of a command, a single one alone or a list, and its text.

    Args:
        args: parsed.
        text: what the text is, for messages: 'prompt'.
        is_optional: the text may be missing; the last word then counts as text only where it is no image.

    Raises:
        ValueError: the text is missing, or looks like one more image.
    """
    *images, last = args.images
    if is_optional and _is_image(last):
        images, found = args.images, None
    elif not images:
        raise ValueError(f'There is no {text}: "{last}" is all that was given. Expected IMAGE {text.upper()}.')
    elif _is_image(last):
        raise ValueError(
            f'The last word has to be the {text}, and "{last}" is an image. Give the {text} behind the images, in '
            f'quotes: glipv2 {args.command} {images[0]} "{_EXAMPLES[text]}"'
        )
    else:
        found = last
    return (images[0] if len(images) == 1 else images), found


def _is_image(word: str) -> bool:
    return Path(word).suffix.lower() in _IMAGE_SUFFIXES or os.path.exists(word)


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
    group.add_argument('--threshold', type=float, help="minimum score of a box (default: the model's, mostly 0.3)")
    group.add_argument(
        '--max-boxes', type=int, default=100, help='maximum number of boxes per image (default: %(default)s)'
    )


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
