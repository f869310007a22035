"""Race our forms against others in fresh processes (``--suite cpu``), or time whole models on a GPU (``--suite gpu``).

    python benchmarks/run.py --suite cpu --json benchmarks/results/suite_cpu.json
    python benchmarks/run.py --suite gpu --json benchmarks/results/suite_gpu.json      # one call, about half an hour
    python benchmarks/run.py --suite gpu --device cpu --models nano --batches 1 --size 128 160    # try it out
    python benchmarks/run.py --suite cpu --cases 'fusion*' deform_conv_infer --rounds 1

Every case is measured by a process of its own, and the two forms of a pair take turns (A B A B), so that neither
inherits warm caches and a busy machine slows both. A time is the median over the rounds of a process's median run, the
spread its fastest and slowest round, a ratio the median over the rounds of the second form over the first of the
*same* round. Beside FILE a Markdown file of the same name gets the tables. The GPU suite times the pairs whose answer
depends on the device, then GLIPv2-T, B and H with random weights: nothing is downloaded. A case that does not fit into
the memory is recorded as such, and so is one that fails; the suite goes on, and the command fails at its end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401
from benchmarks.fresh_process import WorkerError, WorkerSettings, alternate_fresh, run_fresh  # noqa: E402
from benchmarks.model_cases import OUT_OF_MEMORY, ModelCase, all_cases  # noqa: E402
from benchmarks.pairs import CASES, Case, pairs_of  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish, write_json  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402
from benchmarks.summary import Spread, ratios  # noqa: E402

#: Checksums of two forms that compute the same may differ by this part.
MAX_REL_DIFF = 1e-3


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    pairs = {
        name: pair
        for name, pair in pairs_of(CASES).items()
        if (args.suite == 'cpu' or pair[0].on_gpu) and is_chosen(name, args.cases)
    }
    models = (
        []
        if args.suite == 'cpu'
        else [
            case
            for case in all_cases(args.models, args.batches, args.precisions, *args.size)
            if is_chosen(case.name, args.cases)
        ]
    )
    if args.list:
        print('\n'.join([*pairs, *(case.name for case in models)]))
        return 0
    if not pairs and not models:
        sys.exit(f'No case of the {args.suite} suite is called {" or ".join(args.cases)}. --list names all of them.')
    if args.device == 'cuda' and not torch.cuda.is_available():
        sys.exit(
            'The GPU suite needs a CUDA device, and torch sees none. Run it on a machine with one, or try it out '
            'with: --device cpu --models nano --batches 1 --size 128 160'
        )
    settings = WorkerSettings(args.device, args.repeats, args.threads, args.time_limit)
    device = torch.cuda.get_device_name() if args.device == 'cuda' else args.device
    figures: dict[str, object] = {}
    for name, measured in measure_all(pairs, models, args.rounds, settings):
        figures |= {f'{args.suite}_{name}_{key}': value for key, value in measured.items()}
        print(f'{name}: {measured.get("error", "done")}', file=sys.stderr, flush=True)
        if args.json not in (None, '-'):
            write_json(Path(args.json), figures)  # half an hour of work must survive an interruption
    setup = describe_setup('run', args, rounds=args.rounds, device=device)
    tables = report(
        figures,
        pairs,
        models,
        args.suite,
        f'Device: {device}, {args.rounds} rounds of fresh processes. {setup_sentence("run", setup)}',
    )
    publish(figures | setup, tables, args.json)
    if args.json not in (None, '-'):
        Path(args.json).with_suffix('.md').write_text(tables + '\n', encoding='utf-8')
    failed = [name for name, value in figures.items() if name.endswith('_error') and value != OUT_OF_MEMORY]
    for name in failed:
        print(f'{name.removesuffix("_error")} failed:\n{figures[name]}', file=sys.stderr)
    return 1 if failed else 0


def is_chosen(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the patterns; without any, all are chosen."""
    return not patterns or any(fnmatch(name, pattern) for pattern in patterns)


def measure_all(
    pairs: Mapping[str, tuple[Case, Case]], models: Iterable[ModelCase], rounds: int, settings: WorkerSettings
) -> Iterable[tuple[str, dict]]:
    """Name and figures of every pair and every model case, one after the other; ``error`` of those that failed."""
    race = partial(run_fresh, 'pairs', settings=settings)
    for name, pair in pairs.items():
        try:
            yield name, pair_figures(pair, alternate_fresh([case.name for case in pair], rounds, race))
        except WorkerError as error:
            yield name, dict(error=str(error))
    for case in models:
        try:
            yield case.name, model_figures(case, run_fresh('models', case.text, settings))
        except WorkerError as error:
            yield case.name, dict(error=str(error))


def pair_figures(pair: tuple[Case, Case], found: Mapping[str, Sequence[Mapping]]) -> dict[str, object]:
    """Medians, spreads and ratios of a pair.

    Args:
        pair: its two forms.
        found: per form the figures of its process in each round.
    """
    first, second = (found[case.name] for case in pair)
    checksums = [run['checksum'] for run in (*first, *second)]
    if pair[0].same_result and None not in checksums and max(checksums) > min(checksums) * (1 + MAX_REL_DIFF):
        return dict(error=f'The forms of {pair[0].pair} computed different numbers: {checksums}.')
    times = [[statistics.median(run['seconds']) for run in runs] for runs in (first, second)]
    figures: dict[str, object] = {}
    for case, runs, seconds in zip(pair, (first, second), times, strict=True):
        spread = Spread.of(seconds)
        figures[f'{case.form}_ms'] = round(1000 * spread.median, 3)
        figures[f'{case.form}_ms_spread'] = [round(1000 * spread.low, 3), round(1000 * spread.high, 3)]
        figures[f'{case.form}_peak_mb'] = round(statistics.median(run['peak_mb'] for run in runs), 2)
    ratio = ratios(*times)
    figures['time_ratio'] = round(ratio.median, 3)
    figures['time_ratio_spread'] = [round(ratio.low, 3), round(ratio.high, 3)]
    peaks = [figures[f'{case.form}_peak_mb'] for case in pair]
    figures['memory_ratio'] = round(peaks[1] / peaks[0], 3) if peaks[0] else None
    return figures


def model_figures(case: ModelCase, found: Mapping) -> dict[str, object]:
    """Images per second with their spread, and peak memory; or the kernels; or why there are none."""
    if 'seconds' not in found:
        return dict(found)
    spread = Spread.of([case.batch / seconds for seconds in found['seconds']])
    return dict(
        images_per_second=round(spread.median, 3),
        images_per_second_spread=[round(spread.low, 3), round(spread.high, 3)],
        peak_gb=round(found['peak_mb'] / 1000, 3),
    )


def report(
    figures: Mapping[str, object],
    pairs: Mapping[str, tuple[Case, Case]],
    models: Sequence[ModelCase],
    suite: str,
    sentence: str,
) -> str:
    """All tables, in Markdown."""

    def of(name: str) -> dict:
        prefix = f'{suite}_{name}_'
        return {key.removeprefix(prefix): value for key, value in figures.items() if key.startswith(prefix)}

    parts = [sentence]
    if pairs:
        columns = ('what', 'ours', 'ours, ms', 'other', 'other, ms', 'ratio', 'ours, MB', 'other, MB', 'memory ratio')
        parts.append(
            markdown_table(
                columns, [pair_row(pair, of(name)) for name, pair in pairs.items()], text=('what', 'ours', 'other')
            )
        )
    for task, title in (('infer', 'Inference'), ('train', 'Training, optimizer included')):
        rows = [model_row(case, of(case.name)) for case in models if case.task == task]
        if rows:
            columns = ('model', 'batch', 'precision', 'prompt', 'images/s', 'peak memory, GB')
            parts += [title, markdown_table(columns, rows, text=('model', 'precision', 'prompt'))]
    for case in models:
        found = of(case.name)
        if 'kernels' in found:
            rows = [
                (f'`{kernel["name"][:90]}`', kernel['calls'], kernel['ms'], kernel['percent'])
                for kernel in found['kernels']
            ]
            parts += [
                f'Longest kernels of {case.name}',
                markdown_table(('kernel', 'calls', 'ms', '% of all'), rows, text=('kernel',)),
            ]
        elif case.task.endswith('kernels'):
            parts.append(f'Longest kernels of {case.name}: {short_error(found)}')
    return '\n\n'.join(parts)


def pair_row(pair: tuple[Case, Case], found: Mapping) -> tuple[object, ...]:
    if 'error' in found:
        return pair[0].what, pair[0].form, short_error(found), pair[1].form, *[''] * 5
    cells: list[object] = [pair[0].what]
    for case in pair:
        spread = Spread(found[f'{case.form}_ms'], *found[f'{case.form}_ms_spread'])
        cells += [case.form, spread.text()]
    ratio = Spread(found['time_ratio'], *found['time_ratio_spread'])
    memory = found['memory_ratio']
    return (
        *cells,
        ratio.text(2),
        *(f'{found[f"{case.form}_peak_mb"]:.0f}' for case in pair),
        '' if memory is None else f'{memory:.2f}',
    )


def model_row(case: ModelCase, found: Mapping) -> tuple[object, ...]:
    head = case.model, case.batch, case.precision, case.prompt
    if 'error' in found:
        return *head, short_error(found), ''
    spread = Spread(found['images_per_second'], *found['images_per_second_spread'])
    return *head, spread.text(2), f'{found["peak_gb"]:.2f}'


def short_error(found: Mapping) -> str:
    """For a cell: what a case says of its failure, or where to read it."""
    return OUT_OF_MEMORY if found.get('error') == OUT_OF_MEMORY else 'failed, see the JSON file'


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--suite', choices=['cpu', 'gpu'], required=True)
    parser.add_argument('--cases', nargs='+', default=[], metavar='PATTERN', help="only these, such as 'fusion*'")
    parser.add_argument('--list', action='store_true', help='name the cases and stop')
    parser.add_argument('--rounds', type=int, default=3, help='processes per form of a pair')
    parser.add_argument('--repeats', type=int, default=5, help='counted runs in a process')
    parser.add_argument('--threads', type=int, default=2, help='of torch on the CPU')
    parser.add_argument('--time-limit', type=float, default=900, help='seconds for one process')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='default: that of the suite')
    parser.add_argument('--models', nargs='+', default=['t', 'b', 'h'], choices=['nano', 't', 'b', 'h'])
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 8], help='images at once at inference')
    parser.add_argument('--precisions', nargs='+', default=['bf16', 'fp32'], choices=['bf16', 'fp32'])
    parser.add_argument('--size', type=int, nargs=2, default=[800, 1333], metavar=('HEIGHT', 'WIDTH'))
    args = parser.parse_args(arguments)
    if args.device is None:
        args.device = 'cuda' if args.suite == 'gpu' else 'cpu'
    return args


if __name__ == '__main__':
    sys.exit(main())
