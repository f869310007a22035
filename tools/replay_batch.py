"""Runs a stopped training step again: python tools/replay_batch.py FILE [--config CONFIG] [--device DEVICE].

FILE is the one that the message of the run names, work_dirs/<name>/non_finite/iter_N_rank_R.pth; the data set is not
needed. Prints the batch, every loss, and the first module whose output, or gradient, is not finite.
"""

import argparse
import sys

import glipv2_mmdet  # noqa: F401

# isort: split
# mmdet only now: the line above repairs what it stands on
from mmdet.utils import register_all_modules
from mmengine.config import Config

from glipv2_mmdet.engine.replay import Replay, replay
from glipv2_mmdet.engine.stopped_step import StoppedStep, load_step
from glipv2_mmdet.engine.tell_batch import tell_images


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run a stopped training step again')
    parser.add_argument('file', help='iter_N_rank_R.pth')
    parser.add_argument('--config', help='config of the run; by default the settings of the model in the file')
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:1, ...')
    parser.add_argument(
        '--detect-anomaly',
        action='store_true',
        help="torch's search in the backward pass: an error that names the operation",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """0 where all numbers were finite this time, else 1."""
    args = parse_args(argv)
    register_all_modules(init_default_scope=True)
    settings = None
    if args.config:
        settings = Config.fromfile(args.config).model
    step = load_step(args.file)
    results = replay(step, settings, args.device, args.detect_anomaly)
    for batch, result in zip(step.batches, results, strict=True):
        print('\n'.join(describe(step, tell_images(batch.batch), result)))
    return int(not all(result.all_finite for result in results))


def describe(step: StoppedStep, images: str, result: Replay) -> list[str]:
    lines = [
        f'Step {result.iteration + 1}, rank {step.rank} of {step.world_size}, gradient norm {step.gradient_norm}',
        f'batch: {images}',
        *_weights(result),
    ]
    if result.bad_inputs:
        lines.append(f'images that are not finite after preprocessing: {", ".join(map(str, result.bad_inputs))}')
    for name, value in result.losses.items():
        saved = result.saved_losses.get(name)  # the sum of all is not in it
        lines.append(f'{name}: {value}' if saved is None else f'{name}: {value} (in the run: {saved})')
    lines.append(f'first module whose output is not finite: {result.first_output or "none"}')
    if result.first_output is None and result.first_gradient:
        lines.append(f'first module, from the losses backwards, whose gradient is not finite: {result.first_gradient}')
    if result.bad_gradients:
        lines.append(
            f'parameters whose gradient is not finite: {len(result.bad_gradients)}, '
            f'for example {result.bad_gradients[0]}'
        )
    if result.all_finite:
        lines.append(
            'All numbers are finite this time. Try --device cuda where the run was on a GPU, and the '
            'libraries of the run.'
        )
    return lines


def _weights(result: Replay) -> list[str]:
    if not result.bad_weights:
        name, largest = result.largest_weight
        return [f'weights: all finite, the largest is {largest:.3g} in {name}']
    return [
        f'weights: {len(result.bad_weights)} are not finite, for example {result.bad_weights[0]}: an earlier step, '
        'or the checkpoint that the run started from, is at fault'
    ]


if __name__ == '__main__':
    sys.exit(main())
