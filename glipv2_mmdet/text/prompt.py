"""What a prompt is: one string, and the phrases in it that can be found in an image.

First step of the data flow: class lists, ``'a . b . c'`` strings and captions come in, a :class:`Prompt`
leaves. Everything after it (tokens, positive maps, chunks, negatives) is an operation on prompts, so there
are no special cases for "a list of classes" elsewhere.
"""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mmengine.logging import print_log

from glipv2_mmdet.text.noun_phrases import find_noun_phrases

Span = tuple[int, int]

# GLIP's weights were trained with exactly this between two class names, and nothing after the last one.
SEPARATOR = '. '
_ENDS = ' .\t\r\n'
_PARENTHESIS = re.compile(r'[()]')
_BLANKS = re.compile(r'[_\s]+')
# A dot inside a word ('v2.0', 'St.Bernard') does not separate; a run of dots separates once. It is tried from its
# first dot only: from each of them, a hundred thousand dots would take minutes.
_CLASS_BREAK = re.compile(r'(?<!\.)\.+(?=\s|$)')
# A dot between blanks: no name has it, but a string of several names in one entry of a list does.
_LONE_DOT = re.compile(r'(?<=\s)\.+(?=\s)')
_LIKELY_SEPARATOR = re.compile(r'(?:[^\W\d]|\s)\.[^\W\d]|[,;|。，、\n]')


class PromptError(ValueError):
    """A prompt that cannot be built; the text says what was given, what was expected and how to fix it."""


@dataclass(frozen=True)
class Phrase:
    """One thing to find.

    Args:
        name: What the user sees beside a box; for a class list the class name as it was given.
        spans: Half-open character ranges of ``Prompt.text``. Several when the words do not stand together.

    Raises:
        PromptError: A name that is not text, or spans that are not pairs of whole numbers.
    """

    name: str
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise PromptError(
                f'Name of a phrase is {shorten(repr(self.name))} ({type(self.name).__name__}). Expected '
                'a text, what the user sees beside a box.'
            )
        try:
            spans = tuple((operator.index(start), operator.index(end)) for start, end in self.spans)
        except (TypeError, ValueError) as error:
            raise PromptError(
                f"Spans of phrase '{shorten(self.name)}' are {shorten(repr(self.spans))}. Expected pairs "
                'of whole numbers, for example [(0, 5)].'
            ) from error
        object.__setattr__(self, 'spans', spans)  # lists would make the prompt unfit as a key


@dataclass(frozen=True)
class Prompt:
    """A string and its K phrases; immutable and hashable, so it can be a cache key.

    Args:
        text: What the language model reads.
        phrases: K phrases; label k of an annotation or a prediction means ``phrases[k]``.
        is_detection: True for a list of categories (absent ones are negatives, may be chunked and shuffled);
            False for a sentence.

    Raises:
        PromptError: Text without a letter or digit, phrases that are none, or a span that is empty or outside the
            text.
    """

    text: str
    phrases: tuple[Phrase, ...]
    is_detection: bool

    def __post_init__(self) -> None:
        _check_text(self.text, 'Prompt')
        phrases = tuple(self.phrases) if isinstance(self.phrases, Iterable) else (self.phrases,)
        if not all(isinstance(phrase, Phrase) for phrase in phrases):
            raise PromptError(
                f"Phrases of the prompt '{shorten(self.text)}' are {shorten(repr(self.phrases))}. "
                'Expected a sequence of Phrase.'
            )
        object.__setattr__(self, 'phrases', phrases)
        for phrase in phrases:
            if not phrase.spans:
                raise PromptError(
                    f"Phrase '{shorten(phrase.name)}' has no span. Expected at least one "
                    'character range (start, end) of the prompt text.'
                )
            for start, end in phrase.spans:
                if not 0 <= start < end <= len(self.text):
                    raise PromptError(
                        f"Span ({start}, {end}) of phrase '{shorten(phrase.name)}' does not fit the prompt "
                        f'text of {len(self.text)} characters. Expected 0 <= start < end <= '
                        f'{len(self.text)}; spans are half-open character positions, not word or token '
                        'positions.'
                    )

    @property
    def names(self) -> tuple[str, ...]:
        """K names, in phrase order."""
        return tuple(phrase.name for phrase in self.phrases)


def shorten(text: str, limit: int = 60) -> str:
    """Cut a text for an error message, so that a 100 kB caption does not fill the log."""
    return text if len(text) <= limit else f'{text[:limit]}…'


def clean_class_name(name: str) -> str:
    """Turn a label into words: without ``(...)`` and dots at the end, runs of blanks and underscores as one blank.

    A dot at the end ('cat.', as some libraries want it) would join the phrase and lower its scores.
    Each pair of parentheses is removed on its own; GLIP and mmdet delete from the first '(' to the last ')'
    and keep a blank at the end. The tokens are the same for every LVIS name.

    Raises:
        PromptError: The name is not text.
    """
    if not isinstance(name, str):
        raise PromptError(f'Class name is {shorten(repr(name))} ({type(name).__name__}). Expected a text.')
    if '(' in name:
        name = _without_parentheses(name)
    return _BLANKS.sub(' ', name).strip().rstrip(_ENDS)


def _without_parentheses(name: str) -> str:
    """Without every pair and what is in it, in one pass; a parenthesis without a partner stays."""
    kept: list[str] = []
    opened: list[int] = []  # length of ``kept`` where each open parenthesis begins
    end = 0
    for match in _PARENTHESIS.finditer(name):
        kept.append(name[end : match.start()])
        end = match.end()
        if match.group() == '(':
            opened.append(len(kept))
        elif opened:
            del kept[opened.pop() :]
            continue
        kept.append(match.group())
    return ''.join([*kept, name[end:]])


def prompt_from_classes(names: Iterable[str], overrides: Mapping[str, Mapping[str, str]] | None = None) -> Prompt:
    """Join class names to a detection prompt.

    Args:
        names: K class names, for example ``['traffic_light', 'bow_(weapon)']``. Names that become equal only
            by cleaning (two kinds of "bow") are allowed.
        overrides: Per class name (as given, or cleaned) the words to use instead, any of ``prefix``,
            ``name``, ``suffix`` (ODinW caption prompts). Only the ``name`` part is the phrase; no blanks are
            added between them.

    Returns:
        Prompt with one single-span phrase per name, in the given order; ``Phrase.name`` is the given name.

    Raises:
        PromptError: No names, a name that is not text or has no letter or digit, a name given twice (upper
            and lower case count as equal), an override for an unknown class or with an unknown key.
    """
    names = _checked_names(names)
    overrides = _checked_overrides(overrides, names)
    text, phrases = '', []
    for index, name in enumerate(names):
        prefix, words, suffix = class_words(name, overrides)
        if not any(map(str.isalnum, words)):
            raise PromptError(
                f"Class name '{shorten(name)}' (position {index}) has no letter or digit once "
                "'(...)' and '_' are removed. Expected a word that can be searched in an "
                'image: rename the class, or give it other words through an override.'
            )
        start = len(text) + len(prefix)
        phrases.append(Phrase(name, ((start, start + len(words)),)))
        text += prefix + words + suffix
        if index < len(names) - 1:
            text += SEPARATOR
    return Prompt(text, tuple(phrases), is_detection=True)


def class_words(name: str, overrides: Mapping[str, Mapping[str, str]] | None) -> tuple[str, str, str]:
    """(prefix, words, suffix) that stand for a class name in a prompt; only the words are the phrase."""
    words = clean_class_name(name)
    if not overrides:
        return '', words, ''
    override = overrides.get(name) or overrides.get(words) or {}
    return override.get('prefix', ''), override.get('name', words), override.get('suffix', '')


def prompt_from_caption(
    caption: str,
    tokens_positive: Sequence[Sequence[Sequence[int]]] | int | None = None,
    names: Sequence[str] | None = None,
) -> Prompt:
    """Make a sentence prompt.

    Args:
        caption: Free text.
        tokens_positive: K lists of character ranges ``[start, end)`` of the caption, one list per phrase; or
            -1 for the whole caption as one phrase; or None to look for noun phrases (the whole caption is the
            phrase when there are none).
        names: K names to show. Default: the words under the spans, joined by ``' / '``.

    Returns:
        Prompt. With given spans the text gets ``'. '`` at the end unless it ends in a dot, as the weights
        were trained; when phrases are looked for, the caption is stripped of blanks and dots instead.

    Raises:
        PromptError: A caption without letter or digit; spans that are not K lists of integer pairs, or lie
            outside the caption; another number of names than phrases.
    """
    _check_text(caption, 'Caption')
    if tokens_positive is None:
        text = caption.strip(_ENDS)
        found = find_noun_phrases(text) or [(text, ((0, len(text)),))]
        phrases = [Phrase(name, spans) for name, spans in found]
    else:
        text = caption if caption.rstrip().endswith('.') else caption + SEPARATOR
        if not isinstance(tokens_positive, Iterable):
            if tokens_positive != -1:
                raise PromptError(
                    f'tokens_positive is {tokens_positive}. Expected -1 (the whole caption is '
                    'one phrase), None (find noun phrases) or a list of spans per phrase.'
                )
            start = len(caption) - len(caption.lstrip(_ENDS))
            tokens_positive = [[[start, len(caption.rstrip(_ENDS))]]]
        phrases = [_phrase_from_spans(caption, index, spans) for index, spans in enumerate(tokens_positive)]
    if names is not None:
        names = list(names) if isinstance(names, Sequence) and not isinstance(names, str) else [names]
        if len(names) != len(phrases) or not all(isinstance(name, str) for name in names):
            raise PromptError(
                f'names is {shorten(repr(names))}, the caption has {len(phrases)} phrases. '
                'Expected one text per phrase: pass as many names as there are lists in '
                'tokens_positive.'
            )
        phrases = [Phrase(name, phrase.spans) for name, phrase in zip(names, phrases, strict=True)]
    return Prompt(text, tuple(phrases), is_detection=False)


def parse_prompt(
    text: str | Iterable[str],
    custom_entities: bool = False,
    overrides: Mapping[str, Mapping[str, str]] | None = None,
    tokens_positive: Sequence[Sequence[Sequence[int]]] | int | None = None,
) -> Prompt:
    """Make a prompt of whatever a user typed; the arguments are those of mmdet's inference API.

    Args:
        text: Class names (list or tuple) or a string.
        custom_entities: A string is a class list: ``'red circle . blue square'``, ``'a. b. c.'``. It is
            cut at dots that a blank or the end follows; a name with such a dot ('St. Bernard') needs a list.
        overrides: See :func:`prompt_from_classes`; mmdet calls it ``caption_prompt``.
        tokens_positive: See :func:`prompt_from_caption`; a string is a caption then, whatever
            ``custom_entities`` says.

    Raises:
        PromptError: See the two functions above; or arguments that contradict each other.
    """
    is_text = isinstance(text, str)
    if not is_text and tokens_positive is not None:
        raise PromptError(
            f'tokens_positive was given together with {type(text).__name__} '
            f'{shorten(repr(text))}. Its spans are positions in one caption: pass the caption '
            'as a string, or drop it.'
        )
    if is_text and (tokens_positive is not None or not custom_entities):
        if overrides:
            raise PromptError(
                f'Overrides for {shorten(str(sorted(overrides)))} were given with the caption '
                f"'{shorten(text)}'. They replace class names: pass a list of class names, or "
                'custom_entities=True, or drop them.'
            )
        return prompt_from_caption(text, tokens_positive)
    if is_text:
        return prompt_from_classes(_split_classes(text), overrides)
    prompt = prompt_from_classes(text, overrides)
    for name in prompt.names:
        if _holds_several(name, is_alone=len(prompt.names) == 1):
            _hint_at_list(name)
    return prompt


def _holds_several(name: str, is_alone: bool) -> bool:
    """Whether an entry of a list looks like several names; commas and the like only where it is the one entry."""
    words = name.strip(_ENDS)
    if _LONE_DOT.search(words):
        return True
    return is_alone and len(words) <= 1000 and bool(_CLASS_BREAK.search(words) or _LIKELY_SEPARATOR.search(words))


@lru_cache(maxsize=256)
def _hint_at_list(name: str) -> None:
    print_log(
        f"'{shorten(name)}' in the list of class names is read as one class. If several are meant, give each an entry "
        "of its own (['cat', 'dog']) or pass one string ('cat . dog'). If it is the prompt of one image, ask for that "
        'image alone.',
        logger='current',
        level=logging.WARNING,
    )


def _split_classes(text: str) -> list[str]:
    _check_text(text, 'Prompt')
    names = [name for name in map(str.strip, _CLASS_BREAK.split(text)) if name]
    if len(names) == 1 and len(text) <= 1000 and _LIKELY_SEPARATOR.search(names[0]):
        _hint_at_separator(names[0])
    return names


@lru_cache(maxsize=256)  # once per prompt, not once per image
def _hint_at_separator(name: str) -> None:
    print_log(
        f"The prompt '{shorten(name)}' is read as one class. If several are meant, put a dot and a blank "
        "between them ('cat . dog') or pass a list.",
        logger='current',
        level=logging.WARNING,
    )


def _phrase_from_spans(caption: str, index: int, spans: Sequence[Sequence[int]]) -> Phrase:
    checked = []
    expected = (
        'Expected a list of [start, end] pairs of whole numbers, one list per phrase, for example '
        '[[[0, 5]], [[9, 21], [30, 34]]].'
    )
    try:
        for start, end in spans:
            checked.append((operator.index(start), operator.index(end)))
    except (TypeError, ValueError) as error:
        raise PromptError(f'tokens_positive[{index}] is {shorten(repr(spans))}. {expected}') from error
    if not checked:
        raise PromptError(f'tokens_positive[{index}] is empty. {expected} Drop the phrase or give it a span.')
    for start, end in checked:
        if not 0 <= start < end <= len(caption):
            raise PromptError(
                f'Span [{start}, {end}] in tokens_positive[{index}] lies outside the caption '
                f"'{shorten(caption)}' of {len(caption)} characters. Expected 0 <= start < end <= "
                f'{len(caption)}: correct the span, or check that it belongs to this caption.'
            )
        if not caption[start:end].strip():
            raise PromptError(
                f'Span [{start}, {end}] in tokens_positive[{index}] covers only blanks of the '
                f"caption '{shorten(caption)}'. Expected at least one word: correct or drop "
                'the span.'
            )
    return Phrase(' / '.join(caption[start:end] for start, end in checked), tuple(checked))


def _check_text(text: Any, what: str) -> None:
    if not isinstance(text, str):
        raise PromptError(
            f'{what} is {shorten(repr(text))} ({type(text).__name__}). Expected a string, for '
            "example 'a man on a bicycle', or a list of class names for parse_prompt."
        )
    if not any(map(str.isalnum, text)):
        raise PromptError(
            f"{what} '{shorten(text)}' has no letter or digit. Expected class names or a "
            'sentence: say what to look for.'
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            f'{what} {shorten(ascii(text))} has half a character (a lone surrogate) at '
            f'position {error.start}. Expected valid Unicode: read the file as UTF-8, or '
            'remove it.'
        ) from error


def _checked_names(names: Any) -> tuple[str, ...]:
    example = "Expected a list of class names, for example ['cat', 'traffic light']."
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise PromptError(
            f'Class names are {shorten(repr(names))} ({type(names).__name__}). {example} A '
            "string such as 'cat . dog' goes through parse_prompt(text, custom_entities=True)."
        )
    if isinstance(names, (Set, Mapping)):  # the order is the meaning of the labels
        raise PromptError(
            f'Class names are a {type(names).__name__}, which has no order that labels could refer to. {example}'
        )
    try:
        names = tuple(names)
    except TypeError as error:  # an array without dimensions says that it can be iterated over
        raise PromptError(f'Class names are {shorten(repr(names))} ({type(names).__name__}). {example}') from error
    if not names:
        raise PromptError(f'The list of class names is empty. {example}')
    first_position: dict[str, int] = {}
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise PromptError(
                f'Class name {shorten(repr(name))} (position {index}) is of type '
                f"{type(name).__name__}. Expected text: write '{shorten(str(name))}' in "
                'quotes, or the name it stands for.'
            )
        earlier = first_position.setdefault(name.strip().casefold(), index)
        if earlier != index:
            raise PromptError(
                f"Class name '{shorten(name)}' is given twice (positions {earlier} and "
                f'{index}). Expected every class once (upper and lower case count as equal): '
                'remove or rename one.'
            )
    return tuple(name.strip() for name in names)


def _checked_overrides(overrides: Any, names: tuple[str, ...]) -> Mapping[str, Mapping[str, str]]:
    if not overrides:
        return {}
    known = {*names, *map(clean_class_name, names)}
    if not isinstance(overrides, Mapping):
        raise PromptError(
            f'Overrides are {shorten(repr(overrides))} ({type(overrides).__name__}). Expected '
            "a dict from class name to words, for example {'pothole': {'name': 'holes', "
            "'suffix': ' on the road'}}."
        )
    for name, override in overrides.items():
        if name not in known:
            raise PromptError(
                f"Override for '{shorten(str(name))}' matches no class name. Expected one of "
                f'{shorten(str(list(names)), 200)}: correct its spelling or remove it.'
            )
        parts = override.items() if isinstance(override, Mapping) else ((None, override),)
        for key, value in parts:
            if key not in ('prefix', 'name', 'suffix') or not isinstance(value, str):
                raise PromptError(
                    f"Override for '{shorten(str(name))}' is {shorten(repr(override))}. "
                    "Expected texts under 'prefix', 'name' and 'suffix', any of them left out."
                )
    return overrides
