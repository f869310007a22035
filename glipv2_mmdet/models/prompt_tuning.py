"""Prompt tuning: a small residual on the encoded prompt learns, the network stays as it is, bit for bit.

One set of weights then serves any number of tasks, each a file of some kilobytes. The residual starts at zero and is
added to the encoder's output, both where fusion reads it and where the matching does.
Source: GLIPv2, section 3.3 (the tuned object is the prompt embedding); GLIP (Li et al., 2022), section 5.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from glipv2_mmdet.models.tuned_prompt import BASE_PARTS, TunedPrompt, TunedPromptError, base_fingerprint
from glipv2_mmdet.structures import TextFeatures
from glipv2_mmdet.text import Prompt, PromptChunk, PromptTokenizer, chunk_prompt, prompt_from_classes

#: How often a training image is shown a prompt that has some of its classes, when there are several prompts.
POSITIVE_SHARE = 0.5
#: Tuned prompts that stay encoded.
MAX_BOUND = 64


@MODELS.register_module()
class PromptTuning(nn.Module):
    """The trainable residual of a task, in one of two forms.

    With ``classes`` the prompt is fixed: it is encoded once for the whole run, and its residual is one (T, C) matrix
    per chunk of the class list. Without, prompts differ from image to image (referring phrases) and the residual
    counts token positions: its first T rows are added to a prompt of T tokens.

    Args:
        tokenizer: of the text encoder; ``GLIPv2`` passes it.
        channels: C, width of the text encoder; ``GLIPv2`` passes it.
        classes: names in the order of the labels, or the name of a registered data set that has them, such as
            ``'CocoDataset'``; None for the positional form.
        overrides: words to use for a class instead of its name, see
            :func:`~glipv2_mmdet.text.prompt_from_classes`.
        chunked_size: at most so many names per prompt (-1: as many as the text encoder reads); by default that of
            the detector's ``test_cfg``.

    Raises:
        PromptError: names or overrides that make no prompt.
        ValueError: overrides without classes.
    """

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        channels: int,
        classes: Iterable[str] | str | None = None,
        overrides: Mapping[str, Mapping[str, str]] | None = None,
        chunked_size: int = -1,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.channels = channels
        self.overrides = {name: dict(words) for name, words in (overrides or {}).items()}
        self.chunked_size = chunked_size
        self.prompt: Prompt | None = None
        self.chunks: list[PromptChunk] = []
        if classes is not None:
            self.prompt = prompt_from_classes(_class_names(classes), self.overrides)
            self.chunks = chunk_prompt(self.prompt, tokenizer, chunked_size, self.overrides)
        elif self.overrides:
            raise ValueError(
                'overrides were given without classes; they replace class names. Give both, or neither '
                'for the positional form.'
            )
        rows = [len(ids) for ids in self.token_ids] or [tokenizer.max_tokens]
        self.residuals = nn.ParameterList([nn.Parameter(torch.zeros(count, channels)) for count in rows])
        self._places = {chunk.prompt: place for place, chunk in enumerate(self.chunks)}
        self._encoded: dict[tuple[int, torch.device], TextFeatures] = {}

    @classmethod
    def from_tuned(cls, tuned: TunedPrompt, tokenizer: PromptTokenizer, channels: int) -> PromptTuning:
        """The residual of a saved prompt, which does not learn.

        Raises:
            TunedPromptError: its words are other tokens here, or the text encoder has another width.
        """
        tuning = cls(tokenizer, channels, tuned.names or None, tuned.overrides, tuned.chunked_size)
        shapes, given = (
            [tuple(residual.shape) for residual in residuals] for residuals in (tuning.residuals, tuned.residuals)
        )
        if tuning.token_ids != tuned.token_ids or shapes != given:
            raise TunedPromptError(
                f'The prompt for {tuned.title} has residuals of shape {given} for its tokens; the text encoder here '
                f'makes {shapes} of the same words. Use the vocabulary and the width it was tuned with.'
            )
        for parameter, residual in zip(tuning.residuals, tuned.residuals, strict=True):
            parameter.data = residual.clone()
        return tuning.requires_grad_(False).eval()

    def tuned(self, fingerprint: str, base: str) -> TunedPrompt:
        """What is to be saved; ``fingerprint`` and ``base`` say which weights it belongs to."""
        return TunedPrompt(
            residuals=tuple(residual.detach().cpu().clone() for residual in self.residuals),
            token_ids=self.token_ids,
            names=() if self.prompt is None else self.prompt.names,
            overrides=self.overrides,
            chunked_size=self.chunked_size,
            fingerprint=fingerprint,
            base=base,
        )

    @property
    def is_positional(self) -> bool:
        """Whether the residual counts token positions of prompts that differ."""
        return self.prompt is None

    @property
    def token_ids(self) -> tuple[tuple[int, ...], ...]:
        """Per chunk the tokens of its prompt; empty for the positional form."""
        return tuple(self.tokenizer(chunk.prompt).input_ids for chunk in self.chunks)

    def forget(self) -> None:
        """Encode again at the next use, because the weights of the encoder have changed."""
        self._encoded.clear()

    def encode(self, language_model: nn.Module, prompts: Sequence[Prompt]) -> TextFeatures:
        """B prompts with their residual; those of chunks are encoded at their first use only."""
        if self.is_positional:
            with torch.no_grad():
                text = language_model.encode(prompts)
            return text.shifted(self.residuals[0][: text.mask.shape[1]])
        used = [self._places[prompt] for prompt in prompts]
        distinct = list(dict.fromkeys(used))
        text = TextFeatures.join(
            [self._encode_chunk(language_model, place).shifted(self.residuals[place]) for place in distinct]
        )
        return text if used == distinct else text.select([distinct.index(place) for place in used])

    def training_sample(self, sample: DetDataSample) -> DetDataSample:
        """The sample with the prompt it is shown, and with the boxes and labels that prompt can name.

        A class list of several prompts shows an image one of them: half the time one with a class of the image, so
        that the residual learns from boxes as well as from absences. How GLIP tunes such lists is not published.

        Raises:
            TunedPromptError: the sample is about other classes.
        """
        if self.is_positional:
            return sample
        prompt = sample.get('prompt', None)
        self.check_names(prompt.names if prompt is not None else sample.get('text', None) or ())
        boxes = sample.gt_instances
        if len(self.chunks) == 1:
            chunk = self.chunks[0]
        else:
            positions = self._chunk_positions(boxes.labels.device)
            chunk = self.chunks[self._draw_chunk(positions[0, boxes.labels].unique().tolist())]
            here = positions[0, boxes.labels] == self.chunks.index(chunk)
            boxes = boxes[here]
            boxes.labels = positions[1, boxes.labels]
        shown = DetDataSample(metainfo={**sample.metainfo, 'prompt': chunk.prompt})
        shown.gt_instances = boxes
        return shown

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse a class list that is not the tuned one.

        Raises:
            TunedPromptError: names the differences.
        """
        names, own = tuple(names), self.prompt.names
        if names == own:
            return
        only_asked, only_tuned = [n for n in names if n not in own], [n for n in own if n not in names]
        differences = [
            f'{what}: {", ".join(map(repr, listed[:5]))}{", ..." if len(listed) > 5 else ""}'
            for what, listed in (('only asked for', only_asked), ('only tuned', only_tuned))
            if listed
        ]
        raise TunedPromptError(
            f'The prompt was tuned for {len(own)} classes, this image asks for {len(names)} '
            f'({"; ".join(differences) or "in another order"}). Ask for its own classes in its order, leave the text '
            'prompt away (then they are used), or tune a prompt for yours.'
        )

    def _encode_chunk(self, language_model: nn.Module, place: int) -> TextFeatures:
        key = place, language_model.word_embeddings.device  # a model may move after its first use
        if key not in self._encoded:
            with torch.no_grad():
                self._encoded[key] = language_model.encode([self.chunks[place].prompt])
        return self._encoded[key]

    def _chunk_positions(self, device: torch.device) -> Tensor:
        """(2, K) chunk of each class, and its place in there."""
        pairs = [
            (chunk_number, place)
            for chunk_number, chunk in enumerate(self.chunks)
            for place in range(len(chunk.phrase_ids))
        ]
        return torch.tensor(pairs, device=device).T

    def _draw_chunk(self, positive: Sequence[int]) -> int:
        choices = positive if positive and torch.rand(()) < POSITIVE_SHARE else range(len(self.chunks))
        return choices[int(torch.randint(len(choices), ()))]


class BoundPrompts:
    """Tuned prompts that were found to belong to a detector; each keeps its encoding."""

    def __init__(self) -> None:
        self._tunings: dict[TunedPrompt, PromptTuning] = {}
        self._fingerprint: tuple[tuple[int, ...], str] = (), ''

    def bind(self, tuned: TunedPrompt, detector: nn.Module) -> PromptTuning:
        """The residual to encode with.

        Raises:
            TunedPromptError: it was tuned on other weights, or for another text encoder.
        """
        if tuned not in self._tunings:
            tuned.check_base(self._base_fingerprint(detector))
            if len(self._tunings) == MAX_BOUND:
                del self._tunings[next(iter(self._tunings))]
            encoder = detector.language_model
            self._tunings[tuned] = PromptTuning.from_tuned(tuned, encoder.tokenizer, encoder.channels)
        return self._tunings[tuned]

    def forget(self) -> None:
        """Check and encode again, because the weights have changed."""
        self._tunings.clear()

    def _base_fingerprint(self, detector: nn.Module) -> str:
        """Computed anew when a tensor was written to, which torch counts: it takes a second at the tiny scale."""
        versions = tuple(
            tensor._version for part in BASE_PARTS for tensor in getattr(detector, part).state_dict().values()
        )
        if versions != self._fingerprint[0]:
            self._fingerprint = versions, base_fingerprint(detector)
        return self._fingerprint[1]


def encode_prompts(
    language_model: nn.Module, prompts: Sequence[Prompt], tunings: Sequence[PromptTuning | None]
) -> TextFeatures:
    """B prompts, each with its own tuned residual or as the encoder gives it."""
    first = tunings[0]
    if all(tuning is first for tuning in tunings):
        return language_model.encode(prompts) if first is None else first.encode(language_model, prompts)
    return TextFeatures.join(
        [encode_prompts(language_model, [prompt], [tuning]) for prompt, tuning in zip(prompts, tunings, strict=True)]
    )


def _class_names(classes: Iterable[str] | str) -> Iterable[str]:
    """Names as given, or those of a registered data set."""
    if not isinstance(classes, str):
        return tuple(classes)
    dataset = DATASETS.get(classes)
    names = getattr(dataset, 'METAINFO', {}).get('classes')
    if names is None:
        raise ValueError(
            f'classes is "{classes}"; expected a list of names, or a registered data set that has them, '
            'such as "CocoDataset".'
        )
    return names
