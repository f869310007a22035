"""Prompts that stay encoded: at inference the same class list comes with every image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from glipv2_mmdet.structures import TextFeatures

#: Prompts that stay encoded; the 31 prompts of LVIS' 1203 classes fit twice. One of 200 tokens takes 0.6 MB at the
#: width of BERT-base, or 1.2 MB where what scoring reads differs from what fusion reads.
MAX_PROMPTS = 64


class PromptCache(nn.Module):
    """The most recent prompts as a text encoder encodes them.

    It is used where encoding gives the same again, in eval mode and without gradient, and it is emptied as soon as the
    encoder has other weights: after a training step, a loaded checkpoint, a move to another device. What is
    encoded under autocast is not mixed with what is not. A module, so that it hears of ``train()`` and ``eval()``, that
    empty it too: averaged weights are swapped in by way of ``parameter.data``, which torch does not count. Whoever
    writes there between two predictions calls :meth:`clear`. Several threads may use it at once.

    Args:
        max_prompts: beyond it the prompt that was not asked for the longest goes.
    """

    def __init__(self, max_prompts: int = MAX_PROMPTS) -> None:
        super().__init__()
        self.max_prompts = max_prompts
        self._encoded: OrderedDict[str, TextFeatures] = OrderedDict()
        self._state: tuple[object, ...] = ()
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._encoded)

    def clear(self) -> None:
        """Forget all prompts."""
        with self._lock:
            self._encoded.clear()

    def train(self, mode: bool = True) -> PromptCache:
        """Forget all prompts, whichever the mode."""
        self.clear()
        return super().train(mode)

    def encode(
        self, encoder: nn.Module, texts: Sequence[str], encode: Callable[[Sequence[str]], TextFeatures]
    ) -> TextFeatures:
        """Features of distinct texts, those of ``encode`` or kept ones.

        Args:
            encoder: whose mode and weights decide what may be kept.
            texts: B texts, all different.
            encode: gives one row per text.
        """
        if encoder.training or torch.is_grad_enabled():
            return encode(texts)
        state = _state_of(encoder)
        with self._lock:
            if state != self._state:
                self.clear()
                self._state = state
            found = {text: self._encoded[text] for text in texts if text in self._encoded}
        missing = [text for text in texts if text not in found]
        if missing:
            # outside the lock: two threads may encode the same prompt, but none waits for another's
            encoded = encode(missing)
            # a row of its own, cut to its own length: a view would keep the whole batch alive
            found |= {text: encoded.select([row]) for row, text in enumerate(missing)}
        with self._lock:
            # not where another thread has seen other weights meanwhile
            if state == self._state:
                for text in texts:
                    self._encoded[text] = found[text]
                    self._encoded.move_to_end(text)
                while len(self._encoded) > self.max_prompts:
                    self._encoded.popitem(last=False)
        return TextFeatures.join([found[text] for text in texts])

    def __getstate__(self) -> dict[str, Any]:
        # a lock can neither be copied nor sent to a loader process
        return {key: value for key, value in self.__dict__.items() if key != '_lock'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lock = RLock()


def _state_of(encoder: nn.Module) -> tuple[object, ...]:
    """Changes whenever the encoder would give something else: torch counts how often a tensor was written to."""
    parameters = list(encoder.parameters())
    probe = torch.ones(1, 1, device=parameters[0].device, dtype=parameters[0].dtype)
    return (probe @ probe).dtype, *((parameter.data_ptr(), _version(parameter)) for parameter in parameters)


def _version(parameter: Tensor) -> int | object:
    """How often it was written to. Weights made under ``inference_mode`` are not counted: never equal, never kept."""
    return object() if parameter.is_inference() else parameter._version
