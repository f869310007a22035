"""Words of captions as the caption metrics count them: the official tokeniser, and a stand-in where Java is missing.

BLEU, ROUGE-L and CIDEr compare words, so figures are only comparable when the words were cut in the same way. The
official way is Stanford's PTBTokenizer, a Java program that pycocoevalcap carries.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Hashable, Mapping, Sequence

Captions = Mapping[Hashable, Sequence[str]]

# The official wrapper drops these after tokenising. It means to drop brackets too, but looks for '-LRB-' among words
# that are lower case by then, so they stay; and '!!' is one word, which is not in its list.
_DROPPED = re.compile(r"""(?<![!?])[!?](?![!?])|[.,:;"“”‘`…]|(?<=\d)'(?!\w)""")
_BRACKETS = {'(': ' -lrb- ', ')': ' -rrb- ', '[': ' -lsb- ', ']': ' -rsb- ', '{': ' -lcb- ', '}': ' -rcb- '}
_BRACKET = re.compile(r'[()\[\]{}]')
_CLITICS = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))\b")
_JOINED = re.compile(r'\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b')
_SIGNS = re.compile(r'([$%#&*+=<>~^|]|[!?]{2,})')
# points, commas and colons that belong to a word: '2.5', '10:30', 'u.s.', 'mr.'
_INSIDE = re.compile(r'(?<=\d)[.,:](?=\d)|\b(?:[a-z]\.){2,}|\b(?:mr|mrs|ms|dr|st|vs|jr|etc)\.')
_KEPT = {'.': '\ue000', ',': '\ue001', ':': '\ue002'}
_RESTORED = {value: key for key, value in _KEPT.items()}


class OfficialTokenizerError(RuntimeError):
    """The official tokeniser cannot run here; the message says why."""


def tokenize_official(captions: Captions) -> dict[Hashable, list[str]]:
    """Runs pycocoevalcap's PTBTokenizer.

    Args:
        captions: texts per image.

    Returns:
        The same texts as lower-case words joined by single blanks, without punctuation.

    Raises:
        OfficialTokenizerError: no Java, a folder of the package that cannot be written to, or a run without output.
    """
    if shutil.which('java') is None:
        raise OfficialTokenizerError('no Java is installed')
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    # a line break inside a text would shift all texts after it
    entries = {key: [dict(caption=' '.join(text.split())) for text in texts] for key, texts in captions.items()}
    try:
        words = PTBTokenizer().tokenize(entries)
    except OSError as error:  # it writes a scratch file beside its jar
        raise OfficialTokenizerError(f'its scratch file or Java itself failed ({error})') from error
    # a last line without any word is lost on the way
    tokenized = {key: list(words.get(key, [])) for key in captions}
    missing = sum(len(texts) for texts in captions.values()) - sum(map(len, tokenized.values()))
    if missing > 1 or not any(any(texts) for texts in tokenized.values()):
        raise OfficialTokenizerError(f'Java gave {missing} texts too few back')
    for key, texts in captions.items():
        tokenized[key] += [''] * (len(texts) - len(tokenized[key]))
    return tokenized


def tokenize_plain(captions: Captions) -> dict[Hashable, list[str]]:
    """Does nearly the same without Java: lower case, clitics and signs split off, punctuation dropped.

    No difference in any of the 1,826 captions at hand (``tests/test_evaluation/test_caption_metric.py`` holds it to
    that); rarer writing, such as 'No. 5' or "rock 'n' roll", does differ. Figures made with it are not official.
    """
    return {key: [_plain_words(text) for text in texts] for key, texts in captions.items()}


def _plain_words(text: str) -> str:
    text = text.lower().replace('’', "'")
    text = _INSIDE.sub(lambda match: ''.join(_KEPT.get(letter, letter) for letter in match.group()), text)
    text = _DROPPED.sub(' ', text)
    text = _BRACKET.sub(lambda match: _BRACKETS[match.group()], text)
    text = _SIGNS.sub(r' \1 ', text)
    text = _CLITICS.sub(r' \1', text)
    text = _JOINED.sub(lambda match: ' '.join(filter(None, match.groups())), text)
    # dashes between words, quotes around them; a hyphen or apostrophe inside a word stays
    text = re.sub(r'--+|[–—]|(?<![\w-])-(?![\w-])', ' ', text)
    text = re.sub(r"(?<!\w)'(?!(?:s|re|ve|ll|d|m)\b)|'(?!\w)", ' ', text)
    return ' '.join(''.join(_RESTORED.get(letter, letter) for letter in text).split())
