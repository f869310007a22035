"""``glipv2 demo``: a web page to try models on images, until Ctrl-C. Without options it is the model of the package."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL
from glipv2_mmdet.cli import options

# tasks of the page; here, too, so that --help does not wait for gradio
_TASKS = {'detect': 'detection and grounding', 'segment': 'masks', 'ask': 'questions', 'caption': 'captions'}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser = subparsers.add_parser('demo', help='web page to try models', description=__doc__)
    for task, about in _TASKS.items():
        parser.add_argument(
            f'--{task}',
            nargs='+',
            metavar=('MODEL', 'CHECKPOINT'),
            help=f'model for {about}: config, name or folder, then its checkpoint if it needs one',
        )
    parser.add_argument('--device', help="'cpu', 'cuda:0', ... (default: the GPU where there is one)")
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on; 0.0.0.0 opens the demo to the network (default: %(default)s)',
    )
    parser.add_argument('--port', type=int, default=7860, help='(default: %(default)s)')
    parser.add_argument('--public-url', metavar='URL', help='where a proxy shows the page: https://example.org/glipv2')
    limits = parser.add_argument_group('limits')
    limits.add_argument('--max-megabytes', type=float, metavar='N', help='size of an upload (default: 10)')
    limits.add_argument('--max-megapixels', type=float, metavar='N', help='of an image (default: 25)')
    limits.add_argument('--max-waiting', type=int, metavar='N', help='requests in the queue (default: 20)')
    limits.add_argument('--max-seconds', type=float, metavar='N', help='for a request (default: 60)')
    limits.add_argument('--minutes-kept', type=float, metavar='N', help='uploads are deleted then (default: 30)')
    return parser


def run(args: argparse.Namespace) -> None:
    """Loads the models and serves until Ctrl-C or SIGTERM.

    Raises:
        ImportError: gradio is not installed.
        ValueError: too many values of an option, a limit out of range, or a model that cannot do
            its task.
        OSError: the port is taken.
    """
    given = {task: values for task in _TASKS if (values := getattr(args, task))}
    given = given or {'detect': [DEFAULT_MODEL]}
    for task, values in given.items():
        if len(values) > 2:
            raise ValueError(f'--{task} has {len(values)} values. Expected a model and its checkpoint.')
    try:
        from glipv2_mmdet.demo.app import running_demo
    except ImportError as error:
        raise ImportError(f"The demo needs gradio ({error}). Install it: pip install 'glipv2_mmdet[demo]'") from error
    from glipv2_mmdet.apis.inferencer import GLIPv2Inferencer
    from glipv2_mmdet.demo.limits import Limits

    given_limits = {
        'megabytes': args.max_megabytes,
        'megapixels': args.max_megapixels,
        'waiting': args.max_waiting,
        'seconds': args.max_seconds,
        'minutes_kept': args.minutes_kept,
    }
    limits = Limits(**{name: value for name, value in given_limits.items() if value is not None})
    loaded: dict[tuple[str, ...], GLIPv2Inferencer] = {}  # tasks may share one model
    for values in given.values():
        if tuple(values) not in loaded:
            options.warn_of_code(values[0])
            loaded[tuple(values)] = GLIPv2Inferencer(*values, device=args.device)
    models = {task: loaded[tuple(values)] for task, values in given.items()}
    # models trained on the embedded scenes know no photos, and the other way round
    photos = all(values[0] == DEFAULT_MODEL for values in given.values())
    page = running_demo(
        models, host=args.host, port=args.port, limits=limits, public_url=args.public_url, photos=photos
    )
    with _stop_event() as stop, page as address:
        sys.stdout.write(f'The demo is at {args.public_url or address}   (Ctrl-C ends it)\n')
        sys.stdout.flush()
        while not stop.wait(1.0):  # short: a wait without end cannot be interrupted on Windows
            pass


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Set by SIGTERM, the way of service managers to end a program: uploads are deleted then, too."""
    stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
