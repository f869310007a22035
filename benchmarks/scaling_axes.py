"""What ``benchmarks/scaling.py`` grows, one axis at a time, and how a process measures an axis."""

from __future__ import annotations

import json
import os
import statistics
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from benchmarks.fresh_process import WorkerSettings
from benchmarks.fusion import alternate
from benchmarks.random_models import build_random, caption_sample, class_sample, random_images, training_sample
from benchmarks.timing import peak_bytes

CPU = torch.device('cpu')
#: What the other axes keep while one grows.
SIDE, BATCH, NUM_CLASSES, NUM_BOXES = 256, 1, 8, 8


@dataclass(frozen=True)
class Axis:
    """One direction of growth.

    Attributes:
        name: of the axis.
        unit: of its values, for tables and plots.
        trains: a training step is measured, else a prediction.
        values: the points, ascending.
    """

    name: str
    unit: str
    trains: bool
    values: tuple[int, ...]


AXES = {
    axis.name: axis
    for axis in (
        Axis('image_size', 'image side, px', False, (128, 192, 256, 384, 512, 768)),
        Axis('words', 'words of the caption', False, (8, 16, 32, 64, 128, 240)),
        Axis('classes', 'classes', False, (10, 20, 40, 80, 160, 320)),
        Axis('batch', 'images at once', False, (1, 2, 4, 8)),
        Axis('boxes', 'ground-truth boxes', True, (1, 4, 16, 64, 256)),
        Axis('ranks', 'processes, 2 images each', True, (1, 2)),
    )
}


def measure_case(text: str, settings: WorkerSettings) -> dict:
    """Rows of one axis; its points take turns, so that a busy moment hits all of them.

    Args:
        text: json with ``axis``, ``model`` and ``values``.
        settings: of the process.
    """
    case = Namespace(**json.loads(text))
    if case.axis == 'ranks':
        return dict(rows=[rank_row(count, case.model, settings) for count in case.values])
    detector = build_random(case.model, CPU, AXES[case.axis].trains)
    runs = [make_run(detector, case.axis, value) for value in case.values]
    peaks = [peak_bytes(run) for run in runs]
    seconds = [statistics.median(times) for times in alternate(runs, settings.repeats)]
    return dict(rows=[row(case.axis, *point) for point in zip(case.values, seconds, peaks, strict=True)])


def row(axis: str, value: int, seconds: float, peak: int) -> dict:
    return dict(axis=axis, value=value, seconds=round(seconds, 5), peak_mb=round(peak / 1e6, 3))


def make_run(detector: torch.nn.Module, axis: str, value: int) -> Callable[[], None]:
    """What is timed at one point: a prediction, or forward and backward of all losses."""
    side = value if axis == 'image_size' else SIDE
    batch = value if axis == 'batch' else BATCH
    images = random_images(batch, side, side, CPU)
    if AXES[axis].trains:
        num_boxes = value if axis == 'boxes' else NUM_BOXES
        return partial(step, detector, images, [training_sample(side, side, CPU, num_boxes) for _ in range(batch)])
    names = tuple(f'thing {k}' for k in range(value if axis == 'classes' else NUM_CLASSES))
    text = ' '.join(['dog'] * value)

    @torch.inference_mode()
    def predict() -> None:
        samples = [
            caption_sample(side, side, text, [[[0, 3]]]) if axis == 'words' else class_sample(side, side, names)
            for _ in range(batch)
        ]
        detector.predict(images, samples)

    return predict


def step(model: torch.nn.Module, images: torch.Tensor, samples: Sequence) -> None:
    """Forward and backward."""
    model.zero_grad()
    losses = model(images, samples, mode='loss')
    sum(losses.values()).backward()


def rank_row(count: int, model: str, settings: WorkerSettings) -> dict:
    """Each of ``count`` processes trains on two images of its own with one thread; the slowest of them counts."""
    with TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_train_rank, (count, model, settings.repeats, folder), nprocs=count)
        found = [json.loads((Path(folder) / f'rank{rank}.json').read_text()) for rank in range(count)]
    return row('ranks', count, max(rank['seconds'] for rank in found), max(rank['peak'] for rank in found))


def _train_rank(rank: int, count: int, model: str, repeats: int, folder: str) -> None:
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=count, timeout=timedelta(seconds=300)
    )
    torch.manual_seed(0)
    detector = DistributedDataParallel(build_random(model, CPU, training=True), find_unused_parameters=False)
    torch.manual_seed(rank)
    samples = [training_sample(SIDE, SIDE, CPU, NUM_BOXES) for _ in range(2)]
    run = partial(step, detector, random_images(2, SIDE, SIDE, CPU), samples)
    peak = peak_bytes(run)
    (seconds,) = alternate([run], repeats)
    (Path(folder) / f'rank{rank}.json').write_text(json.dumps(dict(seconds=statistics.median(seconds), peak=peak)))
    dist.destroy_process_group()


def case_text(axis: Axis, model: str, values: Sequence[int] | None = None) -> str:
    """What :func:`measure_case` reads."""
    return json.dumps(dict(axis=axis.name, model=model, values=list(values or axis.values)))
