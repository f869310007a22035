"""How cost grows with image size, words, classes, batch, boxes and ranks: times, memory, exponents, a plot.

    python benchmarks/scaling.py --json benchmarks/results/scaling.json --plot docs/images/scaling.png
    python benchmarks/scaling.py --axes words classes --model t --repeats 3

One axis grows, the others stay: pictures of 256 px, one image, 8 classes, 8 boxes. Each axis is measured by a process
of its own, its points in turn. Models have random weights, and no score is too low, so that suppression has all the
work it can have. Memory is the most bytes of tensors at one time above weights and inputs. An exponent is the slope of
the least-squares line through the logarithms: 1 means that twice the size costs twice as much, 0 that it costs nothing.
The last one is that of the three largest points, where what does not grow weighs least. What L_inter sends between
GPUs is computed from shapes (benchmarks/inter_exchange.py), not measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401

# isort: split
from mmdet.registry import MODELS  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402

from benchmarks.fresh_process import WorkerSettings, run_fresh  # noqa: E402
from benchmarks.inter_exchange import Exchange, gradient_bytes  # noqa: E402
from benchmarks.random_models import read_model  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from benchmarks.scaling_axes import AXES, case_text  # noqa: E402
from benchmarks.scaling_plot import draw  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402
from benchmarks.summary import growth_exponent  # noqa: E402

#: Points of the second exponent.
NUM_LAST = 3
COSTS = ('seconds', 'peak_mb')
#: GPUs and images per GPU of the estimate; the paper trains T on 32 GPUs x 2 images, B and H on 64 x 1.
CLUSTERS = ((8, 2), (32, 2), (64, 1))


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    settings = WorkerSettings('cpu', args.repeats, args.threads, args.time_limit)
    rows: list[dict] = []
    for name in args.axes or AXES:
        rows += run_fresh('scaling', case_text(AXES[name], args.model), settings)['rows']
        print(f'{name}: done', file=sys.stderr, flush=True)
    exponents = exponents_of(rows)
    exchange = [Exchange(ranks, images).figures() for ranks, images in CLUSTERS]
    for found in exchange:
        found['gradients_mb'] = round(gradient_bytes(num_parameters('t'), found['ranks']) / 1e6)
    setup = describe_setup('scaling', args, model=args.model)
    publish(
        dict(rows=rows, exponents=exponents, exchange=exchange) | setup,
        report(rows, exponents, exchange, setup_sentence('scaling', setup)),
        args.json,
    )
    if args.plot:
        draw(rows, {name: axis.unit for name, axis in AXES.items()}, Path(args.plot))
    return 0


def exponents_of(rows: Sequence[dict]) -> dict[str, dict[str, float]]:
    """Per axis the exponents of ``seconds`` and ``peak_mb``, of all points and (``_last``) of the largest three."""
    exponents: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row['axis'] for row in rows):
        points = sorted((row for row in rows if row['axis'] == name), key=lambda row: row['value'])
        exponents[name] = {
            f'{cost}{ending}': round(growth_exponent([row['value'] for row in part], [row[cost] for row in part]), 3)
            for cost in COSTS
            for ending, part in (('', points), ('_last', points[-NUM_LAST:]))
        }
    return exponents


def num_parameters(scale: str) -> int:
    """Weights of a model, which is built without any."""
    register_all_modules(init_default_scope=True)
    with torch.device('meta'):
        return sum(parameter.numel() for parameter in MODELS.build(read_model(scale, training=True)).parameters())


def report(rows: Sequence[dict], exponents: dict, exchange: Sequence[dict], sentence: str) -> str:
    """Points, exponents and the estimate, in Markdown."""
    points = markdown_table(
        ('axis', 'value', 'seconds', 'memory, MB'),
        [(row['axis'], row['value'], f'{row["seconds"]:.3f}', f'{row["peak_mb"]:.1f}') for row in rows],
        text=('axis',),
    )
    growth = markdown_table(
        ('axis', 'time, exponent', 'last points', 'memory, exponent', 'last points'),
        [(name, *(f'{value:.2f}' for value in found.values())) for name, found in exponents.items()],
        text=('axis',),
    )
    links = [key for key in exchange[0] if key.startswith('ms_')]
    sent = markdown_table(
        (
            'GPUs',
            'images per GPU',
            'L_inter sends, MB',
            *(f'ms, {link.removeprefix("ms_")}' for link in links),
            'similarities, MB',
            'gradients send, MB',
        ),
        [
            (
                found['ranks'],
                found['images'],
                found['mb_sent'],
                *(found[link] for link in links),
                found['logits_mb'],
                found['gradients_mb'],
            )
            for found in exchange
        ],
    )
    return (
        f'{sentence}\n\n{points}\n\n{growth}\n\nL_inter between GPUs, per step and GPU, computed (100 regions and '
        f'256 words per image, the most there can be; gradients of GLIPv2-T):\n\n{sent}'
    )


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--model', default='nano', choices=['nano', 't'])
    parser.add_argument('--axes', nargs='+', choices=list(AXES), help='only these')
    parser.add_argument('--plot', metavar='PNG', help='where to draw times and memory, log-log')
    parser.add_argument('--repeats', type=int, default=5, help='counted runs of each point')
    parser.add_argument('--threads', type=int, default=2, help='of torch; one per process on the axis of ranks')
    parser.add_argument('--time-limit', type=float, default=900, help='seconds for one axis')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
