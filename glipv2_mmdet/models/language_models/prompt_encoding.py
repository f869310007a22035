"""What text encoders have in common: settings from a dict or a folder, and each distinct prompt encoded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from transformers import PretrainedConfig

from glipv2_mmdet.known_settings import check_keys
from glipv2_mmdet.models.language_models.prompt_cache import PromptCache
from glipv2_mmdet.structures import TextFeatures
from glipv2_mmdet.text import Prompt, PromptTokenizer, TokenBatch

Config = TypeVar('Config', bound=PretrainedConfig)
_ATTENTIONS = ('eager', 'sdpa')


def encode_distinct(
    encoder: nn.Module,
    run: Callable[[TokenBatch], TextFeatures],
    prompts: Sequence[Prompt],
    device: torch.device,
    cache: PromptCache | None = None,
) -> TextFeatures:
    """Tokenise and encode B prompts; each distinct text is encoded once, and not at all where it is in the cache.

    Args:
        encoder: has the ``tokenizer``; its weights are what a cached prompt was encoded with.
        run: encodes a batch of tokens.
        prompts: in any number and order.
        device: of the encoder.
        cache: None to encode in any case.
    """
    distinct = list(dict.fromkeys(prompt.text for prompt in prompts))
    first = {prompt.text: prompt for prompt in reversed(prompts)}
    tokenizer: PromptTokenizer = encoder.tokenizer

    def encode(texts: Sequence[str]) -> TextFeatures:
        return run(tokenizer.collate([tokenizer(first[text]) for text in texts]).to(device))

    text = encode(distinct) if cache is None else cache.encode(encoder, distinct, encode)
    if len(distinct) == len(prompts):
        return text
    return text.select([distinct.index(prompt.text) for prompt in prompts])


def read_config(config_class: type[Config], config: dict | str | None, kind: str, **defaults: object) -> Config:
    """Settings of a text encoder.

    Args:
        config_class: of transformers.
        config: fields that differ from ``defaults`` and those of the class, or a folder with a ``config.json``, which
            is taken as it is.
        kind: name of the encoder in the message.
        defaults: fields that differ from those of the class.

    Raises:
        FileNotFoundError: the folder has no ``config.json``.
        ValueError: a field that the class does not have, which transformers would keep and read nowhere; or an
            attention that is fetched from elsewhere.
    """
    settings = _read_config(config_class, config, kind, defaults)
    attention = getattr(settings, '_attn_implementation', None)
    # transformers fetches any other name that it does not know from a hub, and runs it
    if attention not in (None, *_ATTENTIONS):
        raise ValueError(
            f'The {kind} config asks for the attention {attention!r}. Expected one of {", ".join(_ATTENTIONS)}.'
        )
    return settings


def _read_config(
    config_class: type[Config], config: dict | str | None, kind: str, defaults: Mapping[str, object]
) -> Config:
    if config is None or isinstance(config, dict):
        if config:
            public = {key for key in vars(config_class()) if not key.startswith('_')}
            # what transformers itself writes into such a dict without being a field
            others = {key for key in config if hasattr(config_class, key)}
            check_keys(
                config,
                {*public, *config_class.attribute_map, 'attn_implementation', *others},
                f'config of the {kind} encoder ({config_class.__name__})',
            )
        return config_class(**{**defaults, **(config or {})})
    path = Path(config) / 'config.json'
    if not path.is_file():
        raise FileNotFoundError(
            f'"{config}" has no config.json. Give the folder of a {kind} model on this machine, or a dict of '
            f'{config_class.__name__} fields such as dict(hidden_size=128, num_hidden_layers=2).'
        )
    return config_class.from_json_file(str(path))


def check_vocab_size(tokenizer: PromptTokenizer, config: PretrainedConfig) -> None:
    """Refuse a vocabulary that has more entries than the embedding.

    Raises:
        ValueError: it has.
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f'Vocabulary "{tokenizer.vocab}" has {tokenizer.vocab_size} entries, the embedding of the text encoder '
            f'{config.vocab_size}. Set config.vocab_size to the size of the vocabulary.'
        )
