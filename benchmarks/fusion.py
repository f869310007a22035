"""Race the bi-directional attention of the fusion neck against its textbook form.

    python benchmarks/fusion.py                 # table
    python benchmarks/fusion.py --json          # flat figures on the standard output
    python benchmarks/fusion.py --json FILE     # table, and flat figures in FILE

Both forms share one set of weights and get the same inputs, at GLIP's published widths (256 image channels,
768 text channels, attention 2048 wide, 8 heads) and 6400 image positions. First the outputs are compared,
then the forms run in turn, so that a busy machine slows both; a ratio is the median over the repetitions of
textbook time over our time of the *same* repetition. Training means forward and backward without dropout.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402
from benchmarks.textbook_bi_attention import textbook_bi_attention  # noqa: E402
from glipv2_mmdet.models.layers import BiAttention  # noqa: E402

NUM_WORDS = (16, 64, 195, 256)
NUM_POSITIONS = 6400
#: Outputs of both forms may differ by this part of the largest output.
MAX_REL_DIFF = 1e-5


def main() -> int:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    layer = BiAttention(dropout=0.0)
    for name, parameter in layer.named_parameters():
        if name.endswith('bias'):
            torch.nn.init.normal_(parameter, std=0.02)  # at their start values, some terms would vanish

    figures = {}
    for num_words in args.words:
        figures |= {
            f'fusion_T{num_words}_{name}': value
            for name, value in race(layer, num_words, args.positions, args.repeats).items()
        }
    setup = describe_setup('fusion', args, positions=args.positions)
    publish(figures | setup, table(figures, setup, args), args.json)
    worst = max(figures[f'fusion_T{num_words}_max_rel_diff'] for num_words in args.words)
    if not worst <= MAX_REL_DIFF:
        print(f'The forms differ by {worst:.1e}, allowed are {MAX_REL_DIFF:.0e}.', file=sys.stderr)
        return 1
    return 0


def race(layer: BiAttention, num_words: int, num_positions: int, repeats: int) -> dict[str, float]:
    """Ratios, milliseconds and the largest difference for one prompt length."""
    image, text = torch.randn(1, num_positions, 256), torch.randn(1, num_words, 768)

    def ours(image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        return layer(image, text)

    def textbook(image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        return textbook_bi_attention(layer, image, text)

    layer.eval()
    with torch.no_grad():
        difference = max(
            relative_difference(*pair) for pair in zip(ours(image, text), textbook(image, text), strict=True)
        )
        infer = alternate([lambda form=form: form(image, text) for form in (ours, textbook)], repeats)
    layer.train()
    train = alternate([lambda form=form: train_step(form, layer, image, text) for form in (ours, textbook)], repeats)
    return dict(
        ratio_infer=ratio(infer),
        ratio_train=ratio(train),
        max_rel_diff=difference,
        **{
            f'ms_{mode}_{form}': round(1000 * statistics.median(times), 2)
            for mode, result in (('infer', infer), ('train', train))
            for form, times in zip(('ours', 'textbook'), result, strict=True)
        },
    )


def relative_difference(got: Tensor, want: Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())


def train_step(form: Callable, layer: BiAttention, image: Tensor, text: Tensor) -> None:
    """Forward and backward, gradients of inputs and weights included."""
    layer.zero_grad()
    image, text = image.detach().requires_grad_(), text.detach().requires_grad_()
    image_out, text_out = form(image, text)
    (image_out.sum() + text_out.sum()).backward()


def alternate(runs: list[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Seconds of each run, taken in turn; the first turn warms up and does not count."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats + 1):
        for times, run in zip(seconds, runs, strict=True):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
    return [times[1:] for times in seconds]


def ratio(seconds: list[list[float]]) -> float:
    """Textbook over ours: median over the turns."""
    return round(statistics.median(textbook / ours for ours, textbook in zip(*seconds, strict=True)), 3)


def table(figures: dict[str, float], setup: dict[str, object], args: argparse.Namespace) -> str:
    rows = []
    for num_words in args.words:
        value = {
            name.removeprefix(f'fusion_T{num_words}_'): figure
            for name, figure in figures.items()
            if name.startswith(f'fusion_T{num_words}_')
        }
        rows.append(
            (
                num_words,
                f'{value["ms_infer_ours"]:.0f}',
                f'{value["ms_infer_textbook"]:.0f}',
                f'{value["ratio_infer"]:.1f}x',
                f'{value["ms_train_ours"]:.0f}',
                f'{value["ms_train_textbook"]:.0f}',
                f'{value["ratio_train"]:.1f}x',
                f'{value["max_rel_diff"]:.0e}',
            )
        )
    columns = (
        'words',
        'inference, ms',
        'textbook, ms',
        'ratio',
        'training, ms',
        'textbook, ms',
        'ratio',
        'largest rel. diff.',
    )
    return (
        f'Fusion layer, {args.positions} image positions. {setup_sentence("fusion", setup)}\n\n'
        f'{markdown_table(columns, rows)}'
    )


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--words', type=int, nargs='+', default=list(NUM_WORDS), help='prompt lengths T')
    parser.add_argument('--positions', type=int, default=NUM_POSITIONS, help='image positions')
    parser.add_argument('--repeats', type=int, default=9, help='counted runs of each form')
    parser.add_argument('--threads', type=int, default=2)
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
