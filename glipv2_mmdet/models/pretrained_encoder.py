"""What image and text encoders have in common: which published weights a training, or a frozen encoder, starts from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn


class PretrainedEncoder(BaseModule):
    """An encoder that a training starts from published weights, unless a checkpoint brings them.

    ``init_weights`` loads them, which a ``Runner`` calls when a training starts, and nothing calls for inference.

    Args:
        pretrained: name, file or folder of the weights; None for none.
        from_scratch: a training may start from random weights.
        init_cfg: as in mmengine.

    Attributes:
        skip_pretrained: a checkpoint brings the weights, so :meth:`init_weights` must not load any. Set by
            :func:`~glipv2_mmdet.engine.starting_weights.prepare_starting_weights`.

    Raises:
        ValueError: ``pretrained`` and ``from_scratch`` contradict each other.
    """

    def __init__(self, pretrained: str | None, from_scratch: bool, init_cfg: dict | None) -> None:
        super().__init__(init_cfg=init_cfg)
        if pretrained is not None and from_scratch:
            raise ValueError(
                f'{type(self).__name__} was given pretrained="{pretrained}" and from_scratch=True, which contradict '
                'each other. Set pretrained=None to start from random weights.'
            )
        self.pretrained = pretrained
        self.from_scratch = from_scratch
        self.skip_pretrained = False

    def init_weights(self) -> None:
        """Start values of a training; a checkpoint is loaded over them."""
        super().init_weights()
        if self.pretrained is not None and not self.skip_pretrained:
            self.load_pretrained()

    def load_pretrained(self) -> None:
        """Load the weights that ``pretrained`` names.

        Raises:
            PretrainedWeightsError: they cannot be had, are damaged, or are of another architecture.
        """
        self._load_pretrained(self.pretrained)
        print_log(f'{type(self).__name__} starts from "{self.pretrained}".', logger='current')

    @abstractmethod
    def _load_pretrained(self, source: str) -> None:
        """Set every tensor of the encoder that ``source`` has to have."""


def encoders_of(model: nn.Module) -> Iterator[tuple[str, PretrainedEncoder]]:
    """Encoders of a detector by the name of the part, inner ones of an encoder left out."""
    found: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, PretrainedEncoder) and not name.startswith(tuple(f'{outer}.' for outer in found)):
            found.append(name)
            yield name or 'the model', module


def with_text_encoder(model: nn.Module, state_dict: Mapping[str, Tensor], prefix: str = '') -> Mapping[str, Tensor]:
    """Weights of a detector, completed by its frozen text encoder where they come without it.

    A text encoder that never learns is the published one, so files of weights need not repeat it.

    Args:
        model: detector with ``language_model`` and ``has_published_text``.
        state_dict: name to tensor.
        prefix: what stands before the detector's own names in ``state_dict``.

    Raises:
        PretrainedWeightsError: the text encoder is needed and cannot be had; the text says how to install it.
    """
    part = f'{prefix}language_model.'
    encoder = model.language_model
    is_published = model.has_published_text and getattr(encoder, 'pretrained', None) is not None
    if not is_published or not state_dict or any(name.startswith(part) for name in state_dict):
        return state_dict
    encoder.load_pretrained()
    return {**state_dict, **{f'{part}{name}': tensor for name, tensor in encoder.state_dict().items()}}
