"""Loader throughput, sampler start-up and memory, and memory of a worker that reads pairs.

    python benchmarks/data_loading.py                 # table
    python benchmarks/data_loading.py --json          # flat figures on the standard output
    python benchmarks/data_loading.py --json FILE     # table, and flat figures in FILE

Throughput: Objects365-like records (500 x 750 JPEG of smoothed noise, 15 boxes of 365 classes) through the training
pipeline of configs/_base_/datasets/pretrain_sources.py in one process on one core: decoding, resizing, prompt, packing.
Sampler: seconds and megabytes until the first draw of a mix of three data sets with 2 M records. Pairs: growth of the
resident memory of a process that reads 100 k pairs, after the first tenth.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
import tracemalloc
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401

# isort: split
from mmdet.datasets.objects365 import Objects365V1Dataset  # noqa: E402
from mmdet.registry import DATASETS  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402
from mmengine.config import Config  # noqa: E402

from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from glipv2_mmdet.datasets import IndexedODVGDataset, MixedSampler  # noqa: E402

PIPELINE = ROOT / 'configs/_base_/datasets/pretrain_sources.py'
NUM_CLASSES, NUM_BOXES = 365, 15
PARTS = (1_000_000, 700_000, 300_000)


def main() -> int:
    args = parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    register_all_modules(init_default_scope=True)
    with tempfile.TemporaryDirectory() as folder:
        figures = {**throughput(Path(folder), args), **sampler_cost(), **pair_memory(Path(folder), args)}
    figures |= dict(
        data_machine=f'{platform.machine()} CPU, {os.cpu_count()} cores',
        data_torch=torch.__version__,
        data_date=datetime.date.today().isoformat(),
        data_command=' '.join(['python', 'benchmarks/data_loading.py', *sys.argv[1:]]),
    )
    publish(figures, markdown_table(('figure', 'value'), figures.items(), text=('figure',)), args.json)
    return 0


def throughput(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """Images a second of processor time: other work on the machine does not count."""
    write_records(folder, args.images)
    dataset = DATASETS.build(
        dict(
            type='GroundedODVGDataset',
            data_root=str(folder),
            ann_file='records.jsonl',
            label_map_file='names.json',
            data_prefix=dict(img=''),
            pipeline=Config.fromfile(PIPELINE).train_pipeline,
        )
    )
    np.random.seed(0)
    dataset[0]
    begin = time.process_time()
    for index in range(args.images):
        dataset[index]
    seconds = time.process_time() - begin
    return dict(
        loader_images_per_second_per_core=round(args.images / seconds, 2),
        loader_images=args.images,
        loader_image_size='750 x 500',
    )


def write_records(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    names = Objects365V1Dataset.METAINFO['classes']
    (folder / 'names.json').write_text(json.dumps({str(k): name for k, name in enumerate(names)}))
    with open(folder / 'records.jsonl', 'w') as file:
        for number in range(count):
            noise = cv2.GaussianBlur(rng.integers(0, 256, (500, 750, 3), dtype=np.uint8), (7, 7), 0)
            cv2.imwrite(str(folder / f'{number}.jpg'), noise)
            corners = rng.uniform(0, [600, 400], (NUM_BOXES, 2))
            boxes = np.concatenate([corners, corners + rng.uniform(20, 150, (NUM_BOXES, 2))], axis=1)
            instances = [dict(bbox=box.tolist(), label=int(rng.integers(NUM_CLASSES))) for box in boxes]
            file.write(
                json.dumps(dict(filename=f'{number}.jpg', height=500, width=750, detection=dict(instances=instances)))
                + '\n'
            )


class Lengths:
    """Stands for data sets of these sizes."""

    cumulative_sizes = np.cumsum(PARTS).tolist()

    def __len__(self) -> int:
        return sum(PARTS)


def sampler_cost() -> dict[str, float]:
    begin = time.process_time()
    draws = iter(MixedSampler(Lengths(), ratios=[2, 1, 1], seed=0))
    next(draws)
    first = time.process_time() - begin
    tracemalloc.start()
    sampler = MixedSampler(Lengths(), ratios=[2, 1, 1], seed=0)
    sampler.seek(20_000_000)
    for _ in islice(iter(sampler), 20_000):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    begin = time.process_time()
    for _ in islice(draws, 100_000):
        pass
    return dict(
        sampler_records=sum(PARTS),
        sampler_startup_ms=round(1000 * first, 2),
        sampler_peak_mb=round(peak / 1e6, 3),
        sampler_us_per_draw=round(10 * (time.process_time() - begin), 2),
    )


def pair_memory(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    line = (
        json.dumps(
            dict(
                filename='0.jpg',
                height=500,
                width=750,
                grounding=dict(
                    caption='a dog runs on wet sand beside a small boat',
                    regions=[
                        dict(bbox=[[1, 2, 300, 400]], tokens_positive=[[0, 5]]),
                        dict(bbox=[[9, 9, 200, 400]], tokens_positive=[[14, 22]]),
                    ],
                ),
            )
        )
        + '\n'
    )
    with open(folder / 'pairs.jsonl', 'w') as file:
        file.writelines(line for _ in range(args.pairs))
    dataset = IndexedODVGDataset('pairs.jsonl', str(folder))
    order = np.random.default_rng(0).permutation(args.pairs).tolist()
    for index in order[: args.pairs // 10]:
        dataset[index]
    before = resident_mb()
    for index in order[args.pairs // 10 :]:
        dataset[index]
    return dict(
        pairs=args.pairs,
        pairs_file_mb=round(len(line) * args.pairs / 1e6, 1),
        pairs_memory_growth_mb=round(resident_mb() - before, 2),
    )


def resident_mb() -> float:
    """Memory of this process alone (Linux): pages of mapped files belong to the system's cache."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('RssAnon'):
            return int(line.split()[1]) / 1000
    raise RuntimeError('/proc/self/status has no RssAnon; expected Linux 4.5 or later.')


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--images', type=int, default=64, help='images of the throughput measurement')
    parser.add_argument('--pairs', type=int, default=100_000, help='pairs of the memory measurement')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
