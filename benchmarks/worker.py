"""One case in one process; started by ``fresh_process.run_fresh``, figures go to a file.

python -m benchmarks.worker pairs fusion_T64_infer/textbook --out figures.json
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

import glipv2_mmdet  # noqa: F401  (before anything imports mmdet)

# isort: split
from mmdet.utils import register_all_modules

from benchmarks.fresh_process import WorkerSettings
from benchmarks.report import write_json

#: Each has ``measure_case(case, settings)``, which returns what goes into the file.
SUITES = {'pairs': 'benchmarks.pairs', 'models': 'benchmarks.model_cases', 'scaling': 'benchmarks.scaling_axes'}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('suite', choices=SUITES)
    parser.add_argument('case', help='as the suite names it')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    register_all_modules(init_default_scope=True)
    settings = WorkerSettings(args.device, args.repeats, args.threads)
    write_json(args.out, importlib.import_module(SUITES[args.suite]).measure_case(args.case, settings))


if __name__ == '__main__':
    main()
