"""What happened to one input: a valid result, an error that is documented and says something, or anything else.

An error is documented when its type, or one it is derived from, stands under "Raises" in the docstring of the call
that was made. :func:`documented_errors` reads it there, so that the table cannot say more than the documentation.
"""

from __future__ import annotations

import builtins
import inspect
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2

from glipv2_mmdet.apis import MissingHeadError
from glipv2_mmdet.apis.fetching import FetchError
from glipv2_mmdet.apis.images import ImageInputError
from glipv2_mmdet.datasets.caption_files import CaptionFileError
from glipv2_mmdet.datasets.flickr30k_entities import EntitiesError
from glipv2_mmdet.datasets.odvg_records import ODVGError
from glipv2_mmdet.datasets.own_data import OwnDataError
from glipv2_mmdet.datasets.referring import ReferringError
from glipv2_mmdet.datasets.replace_failed import TooManyFailures
from glipv2_mmdet.datasets.transforms.load_masks import MaskError
from glipv2_mmdet.datasets.vqa_records import VQAError
from glipv2_mmdet.models import TunedPromptError
from glipv2_mmdet.text import AnswerVocabularyError, PromptError

#: Errors of the package by the names docstrings use.
OWN_ERRORS = {
    error.__name__: error
    for error in (
        AnswerVocabularyError,
        CaptionFileError,
        EntitiesError,
        FetchError,
        ImageInputError,
        MaskError,
        MissingHeadError,
        ODVGError,
        OwnDataError,
        PromptError,
        ReferringError,
        TooManyFailures,
        TunedPromptError,
        VQAError,
    )
}
SECONDS = 8.0
MEGABYTES = 1500
LEAST_WORDS = 4
_ROOT = Path(__file__).resolve().parents[3]


class InvalidResult(Exception):
    """A call that returned, but not what it should."""


class OutOfTime(BaseException):
    """Not an Exception: nothing that handles errors may handle this one."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        kind: of input, such as 'prompts'.
        entry: what was called, for the table.
        name: what is wrong with the input, for people.
        call: does it; raises :class:`InvalidResult` when what comes back is wrong.
        subject: the function or class whose docstring says what may be raised.
        mentions: what the text of an error has to name; of each group at least one.
        others: errors that code of mmdet, mmcv or mmengine raises in this call, as docs/bad_input.md lists them.
    """

    kind: str
    entry: str
    name: str
    call: Callable[[], object]
    subject: object
    mentions: tuple[tuple[str, ...], ...] = ()
    others: tuple[type[Exception], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """``outcome`` is 'valid', 'documented' or 'other'; ``text`` says what was raised and where."""

    case: Case
    outcome: str
    text: str = ''


def judge(case: Case, seconds: float = SECONDS) -> Verdict:
    """Make the call under a limit of computing time, which a busy machine does not stretch, and of memory."""
    memory = _peak_megabytes()
    start = time.process_time()
    try:
        with time_limit(seconds):
            case.call()
    except OutOfTime:
        return Verdict(case, 'other', f'no answer after {seconds:g} s')
    except Exception as error:  # noqa: BLE001  (every error is what this is about)
        verdict = _of_error(case, error)
    else:
        verdict = Verdict(case, 'valid')
    taken, grown = time.process_time() - start, _peak_megabytes() - memory
    if taken > seconds:  # compiled code does not let itself be interrupted
        return Verdict(case, 'other', f'took {taken:.0f} s')
    if grown > MEGABYTES:
        return Verdict(case, 'other', f'took {grown:.0f} MB more memory')
    return verdict


@cache
def documented_errors(subject: Callable) -> tuple[type[Exception], ...]:
    """Types under "Raises" in the docstring of a function; for a class, those of the class and its bases of ours."""
    texts = [inspect.getdoc(subject) or '']
    if inspect.isclass(subject):
        texts += [base.__doc__ or '' for base in subject.__mro__[1:] if base.__module__.startswith('glipv2_mmdet')]
    found = []
    for text in texts:
        section = re.search(r'^\s*Raises:\n((?:\s+.*\n?|\n)*)', text, re.MULTILINE)
        for names in re.findall(r'^\s+((?:\w+, )*\w+): ', section[1] if section else '', re.MULTILINE):
            for name in names.split(', '):
                error = OWN_ERRORS.get(name, getattr(builtins, name, None))
                if inspect.isclass(error) and issubclass(error, Exception):
                    found.append(error)
    return tuple(found)


def is_useful(error: Exception, mentions: tuple[tuple[str, ...], ...]) -> bool:
    """A sentence, and it names what was given."""
    text = str(error)
    return len(text.split()) >= LEAST_WORDS and all(any(name in text for name in group) for group in mentions)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises :class:`OutOfTime` inside the block when so much computing time of the process is used up."""

    def stop(*_: object) -> None:
        raise OutOfTime

    earlier = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)


def _of_error(case: Case, error: Exception) -> Verdict:
    shown = f'{type(error).__name__}: {" ".join(str(error).split())[:200]} ({_place(error)})'
    if isinstance(error, InvalidResult):
        return Verdict(case, 'other', shown)
    if not isinstance(error, (*documented_errors(case.subject), *case.others)):
        return Verdict(case, 'other', shown)
    if isinstance(error, UnicodeError) or (type(error) is cv2.error and cv2.error not in case.others):
        return Verdict(case, 'other', shown)  # a ValueError, but nobody meant to raise it
    if not is_useful(error, case.mentions):
        return Verdict(case, 'other', f'says too little: {shown}')
    return Verdict(case, 'documented', shown)


def _place(error: Exception) -> str:
    """File and line of the last frame in this repository."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(str(_ROOT / 'glipv2_mmdet'))
    ]
    frames = frames or traceback.extract_tb(error.__traceback__)[-1:]
    return f'{Path(frames[-1].filename).name}:{frames[-1].lineno}'


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
