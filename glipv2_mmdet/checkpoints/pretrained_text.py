"""Weights that text encoders start from, through the functions of transformers: its names, caches, offline switches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub.errors import HfHubHTTPError
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from glipv2_mmdet.checkpoints.hub_access import offline_if_unreachable
from glipv2_mmdet.checkpoints.load import CheckpointError
from glipv2_mmdet.checkpoints.packaged_weights import HUB_PACKAGES, PretrainedWeightsError, packaged_file, read_packaged
from glipv2_mmdet.checkpoints.pretrained_image import (
    WAYS_OUT,
    check_same_tensors,
    first_line,
    is_file_name,
    read_weights_file,
)
from glipv2_mmdet.checkpoints.text_encoder_names import detect_encoder, encoder_to_ours

#: Sizes that a config and the weights have to agree on; a difference is named before tensors are compared.
_SIZES = ('hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'vocab_size')


def load_text_weights(
    model: nn.Module, model_class: type[PreTrainedModel], pretrained: str, **build_args: object
) -> None:
    """Set every tensor of a text encoder.

    Args:
        model: of transformers, built from numbers; its config says which sizes are expected.
        model_class: that reads a folder or a name of the hub.
        pretrained: a name on the Hugging Face hub, a folder as transformers saves it, or a file of weights (BERT, CLIP
            or UniCL, under the names they are published with).
        build_args: further arguments of ``model_class``, such as ``add_pooling_layer=False``.

    Raises:
        PretrainedWeightsError: no such name, file or package; no connection; damaged; another architecture.
    """
    path = Path(os.path.expanduser(pretrained))
    if path.is_file():
        given = read_weights_file(path)
    elif pretrained in HUB_PACKAGES and not path.is_dir() and packaged_file(HUB_PACKAGES[pretrained]):
        given = read_packaged(HUB_PACKAGES[pretrained])
    elif is_file_name(pretrained):
        raise PretrainedWeightsError(f'pretrained is "{pretrained}"; there is no such file. {WAYS_OUT}')
    else:
        given = _from_transformers(model.config, model_class, pretrained, build_args)
    given = _own_names(given, model, pretrained)
    check_same_tensors(model.state_dict(), given, pretrained)
    model.load_state_dict({name: given[name] for name in model.state_dict()})


def _from_transformers(
    config: PretrainedConfig, model_class: type[PreTrainedModel], pretrained: str, build_args: dict[str, object]
) -> dict[str, Tensor]:
    """The weights of a folder or a name of the hub, as transformers reads them."""
    try:
        with offline_if_unreachable():
            theirs = model_class.config_class.from_pretrained(pretrained)
            _check_sizes(config, theirs, pretrained)
            loaded, report = model_class.from_pretrained(
                pretrained, config=theirs, output_loading_info=True, weights_only=True, **build_args
            )
    except PretrainedWeightsError:
        raise
    except (OSError, HfHubHTTPError, RuntimeError, ValueError) as error:
        install = f' Or install them: {HUB_PACKAGES[pretrained].install}.' if pretrained in HUB_PACKAGES else ''
        raise PretrainedWeightsError(
            f'The text encoder weights "{pretrained}" cannot be had: {first_line(error)}{install} {WAYS_OUT}'
        ) from error
    # transformers fills what is missing with random numbers
    if report['missing_keys']:
        names = sorted(report['missing_keys'])
        raise PretrainedWeightsError(
            f'"{pretrained}" lacks {len(names)} tensors of a {model_class.__name__}, for example "{names[0]}". Give '
            'weights of this architecture.'
        )
    return loaded.state_dict()


def _own_names(state_dict: Mapping[str, Tensor], model: nn.Module, source: str) -> Mapping[str, Tensor]:
    """Tensors under the names of ``model``; CLIP's position table fitted to its length."""
    wanted = model.state_dict()
    if all(name in state_dict and state_dict[name].shape == tensor.shape for name, tensor in wanted.items()):
        return state_dict
    # transformers 5 has no "text_model." in front of CLIP's names, its files have
    if any(name.startswith('embeddings.token_embedding.') for name in state_dict):
        state_dict = {f'text_model.{name}': tensor for name, tensor in state_dict.items()}
    if detect_encoder(state_dict) is None:
        return state_dict
    try:
        converted = encoder_to_ours(state_dict, model.config.max_position_embeddings).state_dict
    except CheckpointError as error:
        raise PretrainedWeightsError(f'"{source}": {error}') from error
    prefix = 'language_model.model.'
    return {name.removeprefix(prefix): tensor for name, tensor in converted.items() if name.startswith(prefix)}


def _check_sizes(ours: PretrainedConfig, theirs: PretrainedConfig, source: str) -> None:
    different = [name for name in _SIZES if getattr(theirs, name, None) != getattr(ours, name, None)]
    if different:
        sizes = ', '.join(
            f'{name} {getattr(theirs, name, "absent")} instead of {getattr(ours, name, "absent")}' for name in different
        )
        raise PretrainedWeightsError(
            f'"{source}" is a text encoder of other sizes than the config asks for: {sizes}. Give weights of these '
            'sizes, or set them in language_model.config.'
        )
