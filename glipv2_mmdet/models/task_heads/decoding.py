"""Greedy and beam search for the best continuation, over any model that scores next tokens.

In: a function that scores the next token of many texts at once. Out: the best text per image. Nothing here knows about
images, layers or words; the texts of all images advance together, one token a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

#: (tokens (R,), parents (R,)) to (R, V) log probabilities of the next token. Row r continues row ``parents[r]`` of
#: the call before by ``tokens[r]``; at the first call there is one row per image, ``tokens`` is the start token and
#: ``parents`` counts the images. Rows of an image stand side by side, equally many for each. -inf forbids a token.
NextTokens = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SearchSettings:
    """How captions are searched for.

    Args:
        beam_size: hypotheses per image; 1 is greedy search.
        max_words: most tokens of a caption (a long word may be several), the end token not counted.
        length_penalty: a caption scores its log probability over (number of tokens, end token included) to this power:
            0 is the plain log probability, which prefers short captions; 1 the mean per token. This is the form of
            Hugging Face's ``generate``; that of Wu et al. (2016, equation 14) shifts the length by 5.
        no_repeat_ngram: no caption says the same n tokens in a row twice; 0 allows it.

    Raises:
        ValueError: a number that is out of range.
    """

    beam_size: int = 5
    max_words: int = 20
    length_penalty: float = 1.0
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        for field, least in zip(fields(self), (1, 1, 0, 0), strict=True):
            value = getattr(self, field.name)
            if not value >= least:
                raise ValueError(f'{field.name} is {value}. Expected at least {least}.')


@dataclass(frozen=True)
class SearchResult:
    """The best text of one image.

    Attributes:
        tokens: without start and end token; at least one, none where the scores are no numbers.
        score: log probability over length ** length_penalty.
    """

    tokens: tuple[int, ...]
    score: float


def beam_search(
    next_tokens: NextTokens,
    num_images: int,
    start_id: int,
    end_id: int,
    settings: SearchSettings,
    device: torch.device | str = 'cpu',
) -> list[SearchResult]:
    """Search for the best text of every image.

    A step ranks all one-token continuations of an image's hypotheses. Those that end and are among the best
    ``beam_size`` are finished; the best ``beam_size`` others go on. An image is done when ``beam_size`` hypotheses
    have finished, and the search ends when all images are; what is unfinished after ``max_words`` tokens counts as it
    is. Equal scores fall to the earlier hypothesis, then to the smaller token id.

    Args:
        next_tokens: scores next tokens, see :data:`NextTokens`.
        num_images: B.
        start_id: what every text begins with.
        end_id: what a text ends with; never the first token.
        settings: of the search.
        device: where the scores are.
    """
    size = settings.beam_size
    images = torch.arange(num_images, device=device)[:, None]
    tokens, parents = images.new_full((num_images, 1), start_id), images
    texts = images.new_empty(num_images, 1, 0)
    scores = torch.zeros(num_images, 1, device=device)
    finished = _Finished(num_images, settings, device)
    for length in range(1, settings.max_words + 1):
        log_probs = next_tokens(tokens.flatten(), parents.flatten()).float()
        log_probs = forbid_repeats(log_probs, texts.flatten(0, 1), settings.no_repeat_ngram)
        if length == 1:
            log_probs[:, end_id] = float('-inf')
        num_beams, num_tokens = texts.shape[1], log_probs.shape[1]
        totals = (scores.flatten()[:, None] + log_probs).view(num_images, -1)
        # of 2 * size candidates at most num_beams end: enough are left to go on
        best, places = ordered_topk(totals, min(2 * size, totals.shape[1]))
        beams, chosen = places // num_tokens, places % num_tokens
        is_end = chosen == end_id
        ending = best[:, :size].masked_fill(~is_end[:, :size], float('-inf'))
        finished.add(ending, texts[images, beams[:, :size]], length)
        if finished.done.all():
            break
        num_going = min(size, best.shape[1] - num_beams)
        going = is_end.long().argsort(dim=1, stable=True)[:, :num_going]
        scores, beams, tokens = (x.gather(1, going) for x in (best, beams, chosen))
        texts = torch.cat((texts[images, beams], tokens.unsqueeze(-1)), dim=-1)
        parents = images * num_beams + beams
    else:
        finished.add(scores, texts, settings.max_words)
    return finished.results()


class _Finished:
    """The best finished text of every image so far."""

    def __init__(self, num_images: int, settings: SearchSettings, device: torch.device | str) -> None:
        self.settings = settings
        self.scores = torch.full((num_images,), float('-inf'), device=device)
        self.texts = torch.zeros(num_images, settings.max_words, dtype=torch.long, device=device)
        self.lengths = torch.zeros(num_images, dtype=torch.long, device=device)
        self.counts = torch.zeros(num_images, dtype=torch.long, device=device)

    @property
    def done(self) -> Tensor:
        """(B,) bool, images for which no more texts are taken."""
        return self.counts >= self.settings.beam_size

    def add(self, log_probs: Tensor, texts: Tensor, length: int) -> None:
        """Texts (B, K, T) that end here, -inf where one does not; ``length`` counts the end token."""
        scores, first = (log_probs / length**self.settings.length_penalty).max(dim=1)
        is_better = (scores > self.scores) & ~self.done
        rows = is_better.nonzero().squeeze(1)
        self.scores[rows] = scores[rows]
        self.texts[rows, : texts.shape[-1]] = texts[rows, first[rows]]
        self.lengths[rows] = texts.shape[-1]
        self.counts += (log_probs > float('-inf')).sum(dim=1)

    def results(self) -> list[SearchResult]:
        rows = zip(self.texts.tolist(), self.lengths.tolist(), self.scores.tolist(), strict=True)
        return [SearchResult(tuple(text[:length]), score) for text, length, score in rows]


def forbid_repeats(log_probs: Tensor, texts: Tensor, size: int) -> Tensor:
    """-inf for tokens that would complete an n-gram their text already has.

    Args:
        log_probs: (R, V), changed in place.
        texts: (R, T) tokens so far.
        size: n; 0 forbids nothing.
    """
    num_tokens = texts.shape[1]
    if size < 1 or num_tokens < size:
        return log_probs
    ngrams = texts.unfold(1, size, 1)  # (R, T - n + 1, n)
    begun = texts[:, None, num_tokens - size + 1 :]  # (R, 1, n - 1)
    rows, places = (ngrams[..., :-1] == begun).all(dim=-1).nonzero(as_tuple=True)
    log_probs[rows, ngrams[rows, places, -1]] = float('-inf')
    return log_probs


def ordered_topk(values: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Largest values of each row (R, M) and their places (R, num); equal ones in the order of their places.

    ``torch.topk`` leaves open which of equal values it takes. That it had a choice is rare, and only then a whole row
    is sorted, which takes thirty times as long.
    """
    best, places = values.topk(num, dim=1)
    if ((values >= best[:, -1:]).sum(dim=1) > num).any():
        best, places = (x[:, :num] for x in values.sort(dim=1, descending=True, stable=True))
        return best, places
    places, order = places.sort(dim=1)
    best, order = best.gather(1, order).sort(dim=1, descending=True, stable=True)
    return best, places.gather(1, order)
