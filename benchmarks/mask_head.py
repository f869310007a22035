"""Race the word-matched mask head against its dense form, in memory and in time.

    python benchmarks/mask_head.py                 # table
    python benchmarks/mask_head.py --json          # flat figures on the standard output
    python benchmarks/mask_head.py --json FILE     # table, and flat figures in FILE

The dense form is the public one: a map for every box and every word of the prompt, averaged afterwards. Both share
one set of weights and get the same inputs, at GLIPv2-T's widths (256 image channels, 768 text channels, RoIs of 14,
masks of 28). "Matching" is what differs between them: from upsampled RoI features and words to one map per box.
"Head" is everything, RoIAlign on the pyramid of an 800 x 1333 picture and the hourglass included. First the outputs
are compared, then the forms run in turn, so that a busy machine slows both; a ratio is dense over ours of the *same*
repetition, the median over the repetitions. Memory is the largest number of bytes that the forms' own tensors
occupy at one time, as torch's allocator reports it. Training means forward and backward.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401
from benchmarks.dense_mask_head import dense_match  # noqa: E402
from benchmarks.fusion import alternate, ratio, relative_difference  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402
from benchmarks.timing import peak_bytes  # noqa: E402
from glipv2_mmdet.models import HourglassMaskHead  # noqa: E402

HEIGHT, WIDTH = 800, 1344
STRIDES = (8, 16, 32, 64, 128)
WORDS_PER_PHRASE = 2
#: Outputs of both forms may differ by this part of the largest output.
MAX_REL_DIFF = 1e-5


class DenseMaskHead(HourglassMaskHead):
    """The same head with the public form of matching."""

    def match(self, features: Tensor, words: Tensor, images: Tensor, word_map: Tensor) -> Tensor:
        return dense_match(self, features, words, images, word_map)


def main() -> int:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    ours, dense = HourglassMaskHead(), DenseMaskHead()
    torch.nn.init.normal_(ours.bias_lang, std=0.02)  # at its start value, a term would vanish
    dense.load_state_dict(ours.state_dict())
    figures = {}
    for num_words in args.words:
        figures |= {
            f'mask_head_N{args.boxes}_T{num_words}_{name}': value
            for name, value in race(ours, dense, args.boxes, num_words, args.repeats).items()
        }
    setup = describe_setup('mask_head', args)
    publish(figures | setup, table(figures, setup, args), args.json)
    worst = max(value for name, value in figures.items() if name.endswith('max_rel_diff'))
    if not worst <= MAX_REL_DIFF:
        print(f'The forms differ by {worst:.1e}, allowed are {MAX_REL_DIFF:.0e}.', file=sys.stderr)
        return 1
    return 0


def race(
    ours: HourglassMaskHead, dense: HourglassMaskHead, num_boxes: int, num_words: int, repeats: int
) -> dict[str, float]:
    """Ratios, megabytes, milliseconds and the largest difference for one prompt length."""
    levels = [torch.randn(1, 256, -(-HEIGHT // stride), -(-WIDTH // stride)) for stride in STRIDES]
    words = torch.randn(1, num_words, 768)
    boxes, word_map = random_boxes(num_boxes), random_phrases(num_boxes, num_words)
    pixels = torch.randn(num_boxes, 256, 14, 14)
    images = torch.zeros(num_boxes, dtype=torch.long)

    def matching(head: HourglassMaskHead) -> Tensor:
        return head.match(pixels, words, images, word_map)

    def whole(head: HourglassMaskHead) -> Tensor:
        return head(levels, words, [boxes], [word_map])

    figures = {}
    with torch.no_grad():
        figures['max_rel_diff'] = max(relative_difference(stage(ours), stage(dense)) for stage in (matching, whole))
    for name, stage, training in (
        ('match_infer', matching, False),
        ('match_train', matching, True),
        ('head_infer', whole, False),
        ('head_train', whole, True),
    ):
        runs = [lambda head=head, stage=stage, training=training: run(stage, head, training) for head in (ours, dense)]
        peaks = [peak_bytes(form) for form in runs]
        seconds = alternate(runs, repeats)
        figures |= {f'{name}_memory_ratio': round(peaks[1] / peaks[0], 3), f'{name}_time_ratio': ratio(seconds)}
        for form, peak, times in zip(('ours', 'dense'), peaks, seconds, strict=True):
            figures[f'{name}_mb_{form}'] = round(peak / 1e6, 2)
            figures[f'{name}_ms_{form}'] = round(1000 * statistics.median(times), 2)
    return figures


def run(stage: Callable[[HourglassMaskHead], Tensor], head: HourglassMaskHead, training: bool) -> None:
    head.zero_grad()
    with torch.set_grad_enabled(training):
        logits = stage(head)
        if training:
            logits.sigmoid().sum().backward()


def random_boxes(num_boxes: int) -> Tensor:
    """(N, 4) boxes of 32 to 400 pixels all over the picture."""
    sides = 32 + 368 * torch.rand(num_boxes, 2)
    corners = torch.rand(num_boxes, 2) * (torch.tensor([WIDTH, HEIGHT]) - sides)
    return torch.cat((corners, corners + sides), dim=1)


def random_phrases(num_boxes: int, num_words: int) -> Tensor:
    """(N, T) bool: neighbouring words somewhere in the prompt."""
    starts = torch.randint(num_words - WORDS_PER_PHRASE + 1, (num_boxes, 1))
    places = torch.arange(num_words)
    return (places >= starts) & (places < starts + WORDS_PER_PHRASE)


def table(figures: dict[str, float], setup: dict[str, object], args: argparse.Namespace) -> str:
    rows = []
    for num_words in args.words:
        prefix = f'mask_head_N{args.boxes}_T{num_words}_'
        value = {name.removeprefix(prefix): figure for name, figure in figures.items() if name.startswith(prefix)}
        for name, label in (
            ('match_infer', 'matching'),
            ('match_train', 'matching, training'),
            ('head_infer', 'head'),
            ('head_train', 'head, training'),
        ):
            rows.append(
                (
                    num_words,
                    label,
                    f'{value[f"{name}_mb_ours"]:.0f}',
                    f'{value[f"{name}_mb_dense"]:.0f}',
                    f'{value[f"{name}_memory_ratio"]:.1f}x',
                    f'{value[f"{name}_ms_ours"]:.0f}',
                    f'{value[f"{name}_ms_dense"]:.0f}',
                    f'{value[f"{name}_time_ratio"]:.1f}x',
                    f'{value["max_rel_diff"]:.0e}',
                )
            )
    columns = (
        'words',
        'what',
        'memory, MB',
        'dense, MB',
        'ratio',
        'time, ms',
        'dense, ms',
        'ratio',
        'largest rel. diff.',
    )
    return (
        f'Mask head, {args.boxes} boxes. {setup_sentence("mask_head", setup)}\n\n'
        f'{markdown_table(columns, rows, text=("what",))}'
    )


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--boxes', type=int, default=100, help='number of boxes N')
    parser.add_argument('--words', type=int, nargs='+', default=[50, 200], help='prompt lengths T')
    parser.add_argument('--repeats', type=int, default=5, help='counted runs of each form')
    parser.add_argument('--threads', type=int, default=2)
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
