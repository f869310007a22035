"""Loads one model from many threads, and the web demo from many visitors: right answers, flat memory, nothing left.

    python benchmarks/reliability/load.py --json load.json

A nano model with random weights answers every request once alone and once among eight threads, and both answers have
to be equal to the last bit. Then it serves a real page to twenty visitors at once, who upload images, ask, and compare
what comes with what the model says itself; "busy" is an answer, too. Memory is that after a warm-up against that at
the end.
"""

from __future__ import annotations

import argparse
import functools
import gc
import io
import json
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.reliability.process_family import own_memory_mb, require_proc  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from glipv2_mmdet import GLIPv2Inferencer  # noqa: E402
from glipv2_mmdet.apis.model_names import config_of  # noqa: E402
from glipv2_mmdet.apis.results import Detections  # noqa: E402
from glipv2_mmdet.models import tuned_prompt  # noqa: E402

_COLOURS = ('red', 'green', 'blue', 'yellow', 'purple', 'white')
_SHAPES = ('circle', 'square', 'triangle', 'star', 'cross', 'diamond')
_SIDES = (48, 64, 96, 128, 160)
#: Growth that is no leak: eight threads make memory pools of their own, some of them late.
MOST_DRIFT_MB = 60.0
_CALL = dict(threshold=0.0, max_boxes=10)
#: Caches without a bound, and why they need none: each has one entry per name of a fixed list.
FINITE_CACHES = {'_chunker': 4, '_warn_old_torch': 1}


@dataclass(frozen=True)
class Request:
    """One question about one image, made from its number alone.

    Attributes:
        task: 'detect', 'segment' or 'ground'.
        text: class list or sentence.
        image: (H, W, 3) uint8.
    """

    task: str
    text: str
    image: np.ndarray

    @classmethod
    def make(cls, number: int, seed: int) -> Request:
        """Of (seed, number): three tasks, 25 sizes, more texts than the prompt cache holds."""
        rng = np.random.default_rng((seed, number))
        names = [f'{_COLOURS[k // 6]} {_SHAPES[k % 6]}' for k in rng.permutation(36)[: rng.integers(1, 9)]]
        task = ('detect', 'segment', 'ground')[number % 3]
        text = f'a {names[0]} is beside a {names[-1]} thing' if task == 'ground' else ' . '.join(names)
        height, width = rng.choice(_SIDES, 2)
        return cls(task, text, rng.integers(0, 256, (height, width, 3), dtype=np.uint8))

    def answer(self, model: GLIPv2Inferencer) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Boxes, scores and names that the model gives."""
        found: Detections = getattr(model, self.task)(self.image, self.text, **_CALL)
        return found.boxes, found.scores, tuple(found.names)


@dataclass(frozen=True)
class Cache:
    """A cache of the package: how many entries it has, and the most it may have."""

    name: str
    size: int
    bound: int | None


def make_model(seed: int = 0) -> GLIPv2Inferencer:
    """A nano model with masks and random weights whose scores differ."""
    from mmengine.config import Config

    config = Config.fromfile(config_of('glipv2-nano-mask'))
    config.merge_from_dict({'model.backbone.depths': (1, 1, 1, 1), 'model.test_cfg.score_thr': 0.0})
    torch.manual_seed(seed)
    model = GLIPv2Inferencer(config, device='cpu')
    for name in ('box', 'centerness', 'text_projection'):
        torch.nn.init.normal_(getattr(model.model.bbox_head, name).weight, std=0.1)
    return model


def answer_all(model: GLIPv2Inferencer, requests: Sequence[Request], threads: int) -> Iterator[tuple | Exception]:
    """The answers in order, or what was raised instead; several threads share the model."""

    def answer(request: Request) -> tuple | Exception:
        try:
            return request.answer(model)
        except Exception as error:  # noqa: BLE001  (whatever it is, the campaign counts it)
            return error

    if threads == 1:
        yield from map(answer, requests)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(answer, requests)


def same(first: tuple | Exception, second: tuple | Exception) -> bool:
    """Whether two answers are equal to the last bit; errors never are."""
    if isinstance(first, Exception) or isinstance(second, Exception):
        return False
    return all(map(np.array_equal, first[:2], second[:2])) and first[2] == second[2]


def caches(model: GLIPv2Inferencer) -> list[Cache]:
    """Every cache of the package that exists in this process."""
    prompts = model.model.language_model.cache
    found = [
        Cache('PromptCache', len(prompts), prompts.max_prompts),
        Cache('TunedPrompt files', len(tuned_prompt._LOADED), tuned_prompt._MAX_LOADED),
    ]
    for item in gc.get_objects():
        if type(item) is functools._lru_cache_wrapper and item.__module__.startswith('glipv2_mmdet'):
            info = item.cache_info()
            bound = FINITE_CACHES.get(item.__name__) if info.maxsize is None else info.maxsize
            found.append(Cache(f'{item.__module__}.{item.__name__}', info.currsize, bound))
    return sorted(found, key=lambda cache: cache.name)


def load_threads(model: GLIPv2Inferencer, requests: Sequence[Request], threads: int) -> dict[str, object]:
    """Figures of the inference path."""
    alone = list(answer_all(model, requests, 1))
    # every thread has had its first requests of every size
    warm = list(answer_all(model, requests[: len(requests) // 4], threads))
    before = own_memory_mb()
    together = list(answer_all(model, requests, threads))
    after = own_memory_mb()
    errors = [str(answer) for answer in (*alone, *warm, *together) if isinstance(answer, Exception)]
    different = sum(not same(*pair) for pair in zip(alone, together, strict=True))
    unbounded = [cache.name for cache in caches(model) if cache.bound is None or cache.size > cache.bound]
    return dict(
        load_requests=len(requests),
        load_threads=threads,
        load_errors=len(errors),
        load_first_error=' '.join(errors[:1]),
        load_different_answers=different,
        load_memory_mb=round(after, 1),
        load_memory_drift_mb=round(after - before, 1),
        load_caches=len(caches(model)),
        load_unbounded_caches=len(unbounded),
    )


@dataclass(frozen=True)
class Visit:
    """What came of one request to the page: 'right', 'busy', or what was wrong."""

    outcome: str


def visit(address: str, model: GLIPv2Inferencer, requests: Sequence[Request]) -> list[Visit]:
    """One visitor with several uploads and prompts, one after the other."""
    from glipv2_mmdet.demo.handlers import CLASS_NAMES
    from tests.test_demo.visitor import Visitor

    visitor, visits = Visitor(address), []
    try:
        for request in requests:
            content = io.BytesIO()
            Image.fromarray(request.image).save(content, 'PNG')
            upload = visitor.upload('image.png', content.getvalue())
            if upload.status_code != 200:
                visits.append(Visit(f'upload: {upload.status_code}'))
                continue
            value = {'path': upload.json()[0], 'meta': {'_type': 'gradio.FileData'}, 'orig_name': 'image.png'}
            reply = visitor.call('detect', value, request.text, CLASS_NAMES, _CALL['threshold'], _CALL['max_boxes'])
            if reply.data is None:
                busy = 'Queue is full' in reply.error or 'may be busy' in reply.error
                visits.append(Visit('busy' if busy else f'{reply.status}: {reply.error}'))
                continue
            file = reply.data[-1]
            shown = json.loads(visitor.file(file.get('value', file)))
            expected = json.loads(model.detect(request.image, request.text, **_CALL).to_json())
            visits.append(Visit('right' if shown['objects'] == expected['objects'] else 'another answer'))
    finally:
        visitor.http.close()
    return visits


def load_demo(model: GLIPv2Inferencer, users: int, each: int, seed: int) -> dict[str, object]:
    """Figures of the page."""
    from glipv2_mmdet.demo.app import running_demo
    from glipv2_mmdet.demo.limits import Limits

    def round_of_visits(number: int) -> list[Visit]:
        # every third request is a detection by names
        asked = [
            [Request.make(3 * (number * users * each + user * each + k), seed) for k in range(each)]
            for user in range(users)
        ]
        with ThreadPoolExecutor(users) as pool:
            return [
                one for visits in pool.map(lambda requests: visit(address, model, requests), asked) for one in visits
            ]

    with tempfile.TemporaryDirectory() as folder:
        before_dir, tempfile.tempdir = tempfile.tempdir, folder
        limits = Limits(waiting=max(2, users // 2))  # fewer places than visitors: some are told to wait
        try:
            with running_demo({'detect': model}, port=free_port(), limits=limits) as address:
                visits = round_of_visits(0)
                before = own_memory_mb()
                for number in (1, 2):
                    visits += round_of_visits(number)
                after = own_memory_mb()
        finally:
            tempfile.tempdir = before_dir
        left = len(list(Path(folder).rglob('*')))
    outcomes = [one.outcome for one in visits]
    wrong = [outcome for outcome in outcomes if outcome not in ('right', 'busy')]
    return dict(
        demo_users=users,
        demo_requests=len(outcomes),
        demo_right=outcomes.count('right'),
        demo_busy=outcomes.count('busy'),
        demo_errors=len(wrong),
        demo_first_error=' '.join(wrong[:1]),
        demo_memory_drift_mb=round(after - before, 1),
        demo_files_left=left,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def failures(figures: dict[str, object]) -> list[str]:
    """Keys of the figures that are not as they should be."""
    zero = ('load_errors', 'load_different_answers', 'load_unbounded_caches', 'demo_errors', 'demo_files_left')
    bad = [key for key in zero if figures.get(key, 0)]
    bad += [key for key in ('load_memory_drift_mb', 'demo_memory_drift_mb') if figures.get(key, 0) > MOST_DRIFT_MB]
    return bad + ['demo_right'] * (figures.get('demo_right', 1) == 0)


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--requests', type=int, default=1000, help='of the threads (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=8)
    parser.add_argument('--users', type=int, default=20, help='of the page at once (default: %(default)s)')
    parser.add_argument(
        '--visits', type=int, default=3, help='requests of a user in a round of three (default: %(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    require_proc()
    torch.set_num_threads(1)
    model = make_model(args.seed)
    figures = dict(load_command=' '.join(['python', *sys.argv]))
    figures |= load_threads(model, [Request.make(k, args.seed) for k in range(args.requests)], args.threads)
    figures |= load_demo(model, args.users, args.visits, args.seed)
    bad = failures(figures)
    rows = [(key, value) for key, value in figures.items()]
    rows += [(f'cache {cache.name}', f'{cache.size} of at most {cache.bound}') for cache in caches(model)]
    publish(figures, markdown_table(('figure', 'value'), rows, text=('figure',)), args.json)
    if bad:
        sys.stderr.write(f'load: not as it should be: {", ".join(bad)}\n')
    return int(bool(bad))


if __name__ == '__main__':
    sys.exit(main())
