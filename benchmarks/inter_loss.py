"""What the inter-image loss costs in a GLIPv2-T training step.

    python benchmarks/inter_loss.py                 # table
    python benchmarks/inter_loss.py --json          # flat figures on the standard output
    python benchmarks/inter_loss.py --json FILE     # table, and flat figures in FILE

The model of configs/glipv2/glipv2_t_pretrain.py at full width takes forward and backward on random images; then the
loss alone takes forward and backward on the very features of that step. Both alternate, so that a busy machine slows
both; the share is the median over the repetitions of loss time over step time of the *same* repetition. Regions and
words of other ranks are copies of the own ones: their arithmetic is timed, sending them is not. Images are far smaller
than in training (480 to 800 pixels), which makes the step cheaper and the share larger than it is there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401

# isort: split
from mmdet.registry import MODELS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402
from glipv2_mmdet.models import GLIPv2, InterImageContrast  # noqa: E402
from glipv2_mmdet.models.losses import inter_image_contrast  # noqa: E402
from glipv2_mmdet.text import prompt_from_classes  # noqa: E402

CONFIG = ROOT / 'configs' / 'glipv2' / 'glipv2_t_pretrain.py'
#: The loss may take this part of a step.
MAX_SHARE_PERCENT = 3.0
NUM_BOXES = 12
COLOURS = ('red', 'green', 'blue', 'old', 'new', 'small', 'big', 'round')
THINGS = ('car', 'dog', 'table', 'bottle', 'tree', 'window', 'lamp', 'chair')


def main() -> int:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    register_all_modules(init_default_scope=True)
    model = MODELS.build(Config.fromfile(args.config).model).train()
    figures = measure(model, args)
    setup = describe_setup('inter_loss', args, images=args.images, image_size=args.size, ranks=args.ranks)
    publish(figures | setup, table(figures, setup), args.json)
    share = figures['inter_loss_share_percent']
    if not share < MAX_SHARE_PERCENT:
        print(f'The loss takes {share:.1f} % of a step, allowed are {MAX_SHARE_PERCENT:g} %.', file=sys.stderr)
        return 1
    return 0


def measure(model: GLIPv2, args: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds and share; the first turn warms up and does not count."""
    inputs, seen = [], []
    model.inter_loss.register_forward_pre_hook(lambda module, given: inputs.append(given))
    model.inter_loss.register_forward_hook(lambda module, given, loss: seen.append(given[2].num_positive))
    steps, losses = [], []
    for _ in range(args.repeats + 1):
        inputs.clear()
        with other_ranks(args.ranks):
            steps.append(seconds_of(lambda: train_step(model, args)))
            (given,) = inputs
            losses.append(seconds_of(lambda given=given: loss_alone(model.inter_loss, given)))
    shares = [loss / step for loss, step in zip(losses[1:], steps[1:], strict=True)]
    return dict(
        inter_loss_share_percent=round(100 * statistics.median(shares), 3),
        inter_loss_ms=round(1000 * statistics.median(losses[1:]), 2),
        inter_loss_step_ms=round(1000 * statistics.median(steps[1:]), 1),
        inter_loss_positive_anchors=list(seen[-1]),
        inter_loss_words=list(given[1].lengths),
    )


def train_step(model: GLIPv2, args: argparse.Namespace) -> None:
    """Forward and backward of all losses; the optimizer would only lower the share."""
    model.zero_grad()
    samples = [make_sample(image, args.size) for image in range(args.images)]
    losses = model.loss(torch.randn(args.images, 3, args.size, args.size), samples)
    sum(losses.values()).backward()


def loss_alone(loss: InterImageContrast, given: tuple) -> None:
    """Forward and backward down to the features that the step handed over."""
    levels, text, *labels = given
    levels = [level.detach().requires_grad_() for level in levels]
    text = replace(text, embedded=text.embedded.detach().requires_grad_())
    loss(levels, text, *labels).backward()


def other_ranks(count: int) -> mock._patch:
    """Let one process see ``count`` ranks: copies of its own rows without gradient."""
    return mock.patch.multiple(
        inter_image_contrast,
        exchange_counts=lambda counts, device: [tuple(counts)] * count,
        gather_rows=lambda rows, num_rows: [rows, *(rows.detach().clone() for _ in num_rows[1:])],
    )


def make_sample(image: int, size: int) -> DetDataSample:
    """All 64 names, in an order of its own, and boxes of all sizes."""
    names = [f'{colour} {thing}' for colour in COLOURS for thing in THINGS]
    names = names[image:] + names[:image]
    corners = torch.rand(NUM_BOXES, 2) * size / 2
    sides = size / 8 + torch.rand(NUM_BOXES, 2) * size / 3
    sample = DetDataSample(metainfo=dict(prompt=prompt_from_classes(names), img_shape=(size, size)))
    sample.gt_instances = InstanceData(
        bboxes=torch.cat((corners, corners + sides), dim=1), labels=torch.randint(len(names), (NUM_BOXES,))
    )
    return sample


def seconds_of(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def table(figures: dict[str, object], setup: dict[str, object]) -> str:
    row = (
        figures['inter_loss_positive_anchors'],
        figures['inter_loss_words'],
        f'{figures["inter_loss_step_ms"]:.0f}',
        f'{figures["inter_loss_ms"]:.1f}',
        f'{figures["inter_loss_share_percent"]:.2f} %',
    )
    columns = ('positive anchors', 'words', 'step, ms', 'loss, ms', 'share')
    return (
        f'L_inter in a GLIPv2-T step, {setup["inter_loss_images"]} images of {setup["inter_loss_image_size"]} px, '
        f'{setup["inter_loss_ranks"]} ranks. {setup_sentence("inter_loss", setup)}\n\n'
        f'{markdown_table(columns, [row], text=columns[:2])}'
    )


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--config', default=str(CONFIG), help='another model with an inter_loss, to try this out')
    parser.add_argument('--images', type=int, default=2, help='images of this rank')
    parser.add_argument('--size', type=int, default=224, help='side of the images, pixels')
    parser.add_argument('--ranks', type=int, default=32, help='ranks whose regions and words take part')
    parser.add_argument('--repeats', type=int, default=3, help='counted steps')
    parser.add_argument('--threads', type=int, default=2)
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
