"""Noun phrases of a free caption: the things a sentence asks for.

spaCy or NLTK do it when they *and their data* are installed; otherwise a rule chunker for English that needs
nothing. Nothing is ever downloaded, and nothing heavy is imported before the first caption needs it.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable, Iterator
from functools import cache

from mmengine.logging import print_log

Span = tuple[int, int]

#: A word, with its apostrophe, ampersand and hyphens; punctuation around it is none.
WORD = re.compile(r"[^\W_]+(?:['’&-][^\W_]+)*")
_SPACY_LIMIT = 100_000  # characters; its parser needs about 1 GB for ten times as many


def find_noun_phrases(caption: str, backend: str = 'auto') -> list[tuple[str, tuple[Span, ...]]]:
    """Find the noun phrases of a caption.

    Args:
        caption: Text of any length.
        backend: ``'spacy'``, ``'nltk'``, ``'rules'``, or ``'auto'`` for the first of them that is installed.

    Returns:
        (words, half-open character ranges) per phrase, in order of appearance. A phrase that occurs again
        (upper and lower case count as equal) is one entry with several ranges. No pronouns. May be empty.

    Raises:
        ValueError: ``backend`` is unknown, or the caption is not text.
        RuntimeError: ``backend`` is named but not installed with its data.
    """
    if not isinstance(caption, str):
        raise ValueError(
            f'Caption is {repr(caption)[:60]} ({type(caption).__name__}). Expected a text to look for noun phrases in.'
        )
    phrases: dict[str, tuple[str, list[Span]]] = {}
    for start, end in _chunker(backend)(caption):
        words = ' '.join(caption[start:end].split())
        phrases.setdefault(words.casefold(), (words, []))[1].append((start, end))
    return [(words, tuple(spans)) for words, spans in phrases.values()]


@cache
def _chunker(backend: str) -> Callable[[str], Iterator[Span]]:
    makers = {'spacy': _spacy_chunker, 'nltk': _nltk_chunker, 'rules': lambda: _rule_chunks}
    if backend == 'auto':
        made = ((name, make()) for name, make in makers.items())
        name, chunker = next((name, chunker) for name, chunker in made if chunker is not None)
        # The phrases of a caption depend on it, so a log must say which one it was.
        print_log(f'Noun phrases of captions are found by: {name}', logger='current', level=logging.INFO)
        return chunker
    if backend not in makers:
        raise ValueError(f"Noun phrase backend is '{backend}'. Expected 'auto' or one of {list(makers)}.")
    chunker = makers[backend]()
    if chunker is None:
        data = {'spacy': 'an English model (en_core_web_sm)', 'nltk': 'its averaged_perceptron_tagger data'}
        raise RuntimeError(
            f"Noun phrase backend '{backend}' cannot be used here. Expected the package and "
            f"{data[backend]} to be installed: install both, or use backend='rules'."
        )
    return chunker


def _spacy_chunker() -> Callable[[str], Iterator[Span]] | None:
    if importlib.util.find_spec('spacy') is None:
        return None
    import spacy

    models = sorted(model for model in spacy.util.get_installed_models() if model.startswith('en_'))
    if not models:
        return None
    language = spacy.load(min(models, key=lambda model: (model != 'en_core_web_sm', model)))

    def chunks(caption: str) -> Iterator[Span]:
        if len(caption) > _SPACY_LIMIT:
            yield from _rule_chunks(caption)
            return
        for chunk in language(caption).noun_chunks:
            if chunk.root.pos_ != 'PRON':
                yield chunk.start_char, chunk.end_char

    return chunks


def _nltk_chunker() -> Callable[[str], Iterator[Span]] | None:
    if importlib.util.find_spec('nltk') is None:
        return None
    from nltk import pos_tag

    try:
        pos_tag(['cat'])
    except LookupError:  # the tagger's data is not there
        return None

    def chunks(caption: str) -> Iterator[Span]:
        spans = [match.span() for match in re.finditer(rf'{WORD.pattern}|[^\w\s]', caption)]
        tags = [tag for _, tag in pos_tag([caption[start:end].lower() for start, end in spans])]
        yield from _tag_chunks(spans, tags)

    return chunks


def _tag_chunks(spans: list[Span], tags: list[str]) -> Iterator[Span]:
    """Determiner? adjective* noun+ over Penn Treebank tags: how GLIP made its caption data."""
    kinds = ''.join('D' if tag == 'DT' else tag[0] if tag[:2] in ('JJ', 'NN') else '-' for tag in tags)
    for match in re.finditer('D?J*N+', kinds):
        yield spans[match.start()][0], spans[match.end() - 1][1]


# --- the rule chunker: closed word lists, because nouns are the open class ---------------------------

_DETERMINERS = frozenset(
    """
a an the this these those some any each every either neither several many few various numerous both all
another other such no my your his her its our their two three four five six seven eight nine ten eleven
twelve dozen
""".split()
)
# Words that end a phrase and are in none: prepositions, conjunctions, pronouns, auxiliaries, adverbs.
_BREAKS = frozenset(
    """
about above across after against ahead along alongside amid among amongst around as aside at atop away
because before behind below beneath beside besides between beyond but by despite down during except for from
if in inside into instead like near nearby next of off on onto opposite or out outside over past per plus
since so than that then through throughout to together toward towards under underneath until unto up upon
via when where whereas while whilst with within without and nor yet though although i me you he him she it
we us they them mine yours hers ours theirs himself herself itself themselves who whom whose which what why
how there here someone something anyone anything everyone everything nobody nothing am is are was were be
been being has have had having do does did done can could may might must shall should will would not n't
isn't aren't wasn't weren't doesn't don't didn't can't there's it's that's let's also too very quite rather
really just only even still already again ever never always often maybe perhaps almost apart elsewhere
everywhere somewhere indoors outdoors please now today get gets got give gives gave make makes made take
takes took put puts go goes went come comes came keep keeps kept let lets seem seems appear appears become
becomes see seen saw find locate detect show shows holds wears rides sits lies lays leans eats carries
pushes hangs swims poses prepares tries attempts performs sit lie lean eat hang hold wear carry consists
contains includes containing including consisting featuring depicting
""".split()
)
# Verbs, but nouns behind a determiner, an adjective or one of the prepositions below, and at the beginning:
# "a man watches tv", "two watches", "a hand with watches".
_BEFORE_NOUNS = frozenset(['', *'with without of on in at for by near from between'.split()])
_NOUN_OR_VERB = frozenset(
    """
watches stands parks waves talks drives cooks kicks surfs skates skis rests sleeps waits works reads plays
crosses faces points reaches turns returns covers fills lines surrounds overlooks enjoys stand park wave
watch ride run walk look play jump swim fly drink swing hit catch pull push pose climb ground segment drinks
walks runs swings throws hits pulls catches looks smiles flies climbs jumps throw
""".split()
)
_ADJECTIVES = frozenset(
    """
red green blue yellow purple violet pink brown black white gray grey beige tan golden dark bright pale
colored coloured multicolored big large huge giant small little tiny short tall long wide narrow thick thin
old young new ancient modern vintage clean dirty wet dry hot cold warm frozen fresh ripe raw open closed
empty full wooden metallic woolen round rectangular triangular circular oval flat sharp upper lower middle
central first second third last main single bald elderly same different own whole half busy quiet happy sad
cute pretty beautiful nice lovely good bad great fancy plain striped spotted plaid furry fluffy hairy shiny
sandy snowy grassy rocky muddy dusty cloudy sunny rainy foggy leafy soft hard heavy high low deep steep
public private local
""".split()
)
# Modifiers before a noun ("the left dog"), places behind one ("the dog left of the cat").
_PLACES = frozenset('left right top bottom front rear'.split())
_ING_NOUNS = frozenset(
    """
building ceiling clothing painting drawing railing awning wedding swimming dining parking living washing
vending string ring king wing spring swing thing sling earring herring duckling morning evening icing
frosting stuffing pudding dressing lighting crossing landing dumpling sibling offspring lettering marking
siding sterling
""".split()
)
_ED_NOUNS = frozenset(
    """
bed shed sled seed weed reed moped speed breed flatbed seabed waterbed hundred steed greed
""".split()
)
_LY_NOUNS = frozenset(
    """
family butterfly dragonfly jelly belly lily ally fly bully assembly dolly trolly
""".split()
)
_ADJECTIVE_ENDINGS = re.compile(r'.{3,}(?:ful|ous|less|-sized|-shaped|-colou?red)$')
_POSSESSIVE = re.compile("['’]s$")


def _rule_chunks(caption: str) -> Iterator[Span]:
    """Determiner*, modifiers*, nouns+; cut at verbs, prepositions, conjunctions, pronouns and punctuation."""
    matches = list(WORD.finditer(caption))
    words = [match.group().lower() for match in matches]
    chunk, gap_start = _Chunk(), 0
    for index, (match, word) in enumerate(zip(matches, words, strict=True)):
        gap = caption[gap_start : match.start()].strip()
        gap_start = match.end()
        # "a sunny, dry day": a comma between adjectives is inside the phrase
        if gap and not (gap == ',' and chunk.num_modifiers and chunk.waits_for_noun):
            yield from chunk.spans()
            chunk = _Chunk()
        kind = _word_kind(word, words[index - 1] if index else '', chunk)
        if kind == 'noun' and (chunk.num_nouns or not index or words[index - 1] == 'to'):
            # "the player blocks a pass", "to reach the ball", "Count the dogs": what stands right before a
            # determiner is a verb
            following = matches[index + 1 : index + 2]
            if following and caption[gap_start : following[0].start()].isspace() and (words[index + 1] in _DETERMINERS):
                kind = 'break'
        if kind == 'break' or (kind == 'determiner' and (chunk.num_nouns or chunk.num_modifiers)):
            yield from chunk.spans()
            chunk = _Chunk()
        if kind != 'break':
            chunk.add(kind, match.span())
    yield from chunk.spans()


class _Chunk:
    """The words of one phrase so far."""

    def __init__(self) -> None:
        self.start = self.end = self.num_determiners = self.num_modifiers = self.num_nouns = 0

    @property
    def waits_for_noun(self) -> bool:
        return bool(self.num_determiners or self.num_modifiers) and not self.num_nouns

    def add(self, kind: str, span: Span) -> None:
        if not (self.num_determiners or self.num_modifiers or self.num_nouns):
            self.start = span[0]
        self.end = span[1]
        self.num_determiners += kind == 'determiner'
        self.num_modifiers += kind == 'modifier'
        self.num_nouns += kind == 'noun'

    def spans(self) -> list[Span]:
        # "the left", "an orange": behind a determiner the last adjective stands for the thing
        complete = self.num_nouns or (self.num_determiners and self.num_modifiers)
        return [(self.start, self.end)] if complete else []


def _word_kind(word: str, previous: str, chunk: _Chunk) -> str:
    """'determiner', 'modifier', 'noun' or 'break', given the word and the phrase before."""
    if word in _DETERMINERS or word.isdigit():
        return 'determiner'
    if word == 'can' and chunk.waits_for_noun:
        return 'noun'
    if word in _BREAKS:
        return 'break'
    if word in _NOUN_OR_VERB:
        return 'noun' if chunk.waits_for_noun or previous in _BEFORE_NOUNS else 'break'
    if word in _PLACES:
        return 'break' if chunk.num_nouns else 'modifier'
    if word in _ADJECTIVES or _ADJECTIVE_ENDINGS.match(word) or _POSSESSIVE.search(word):
        return 'modifier'
    if _is_participle(word) or (len(word) > 3 and word.endswith('ly') and word not in _LY_NOUNS):
        # "a parked car", "a brightly lit room", but "a car parked", "wearing hats"
        return 'modifier' if chunk.waits_for_noun else 'break'
    return 'noun'


def _is_participle(word: str) -> bool:
    return (len(word) > 4 and word.endswith('ing') and word not in _ING_NOUNS) or (
        len(word) > 3 and word.endswith('ed') and word not in _ED_NOUNS
    )
