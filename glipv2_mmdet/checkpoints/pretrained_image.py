"""Weights that image backbones start from, through timm's own functions: its names, caches and offline switches."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import timm
from huggingface_hub.errors import HfHubHTTPError
from timm.models import load_state_dict as read_timm_file
from timm.models.swin_transformer import SwinTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from glipv2_mmdet.checkpoints.hub_access import offline_if_unreachable
from glipv2_mmdet.checkpoints.load import describe_misfit
from glipv2_mmdet.checkpoints.packaged_weights import PretrainedWeightsError, read_packaged, weight_package
from glipv2_mmdet.checkpoints.text_encoder_names import detect_encoder, encoder_to_ours

#: Begins a ``pretrained`` that names an installed Python package.
PACKAGE_PREFIX = 'package:'
#: What to do where weights cannot be had, for the end of a message.
WAYS_OUT = (
    'Three ways out:\n'
    '- network: run once with access to the hub; the file is cached;\n'
    '- a copied file: fetch it on another machine and give its path as pretrained;\n'
    '- a checkpoint of the whole model: load_from=FILE.\n'
    'To start from random weights on purpose, set pretrained=None and from_scratch=True.'
)
_HUB_PREFIXES = ('timm/', 'hf-hub:', 'hf_hub:')
#: Files of a folder of weights, the preferred one first.
_FOLDER_FILES = ('model.safetensors', 'pytorch_model.bin')


def timm_weights(build: Callable[..., nn.Module], name: str, pretrained: str) -> dict[str, Tensor]:
    """Tensors of a timm model by its own names.

    Args:
        build: ``build(name, pretrained, **timm.create_model arguments)`` makes a model of the architecture ``name``.
        name: architecture, for weights that come from a file.
        pretrained: a timm name, a file, a folder with one, or ``'package:NAME'``.

    Raises:
        PretrainedWeightsError: no such name, file or package; no connection; another architecture.
    """
    path = Path(os.path.expanduser(pretrained))
    if pretrained.startswith(PACKAGE_PREFIX):
        tensors = list(read_packaged(weight_package(pretrained.removeprefix(PACKAGE_PREFIX))).values())
        names = list(timm.create_model(name, pretrained=False).state_dict())
        if len(names) != len(tensors):
            raise PretrainedWeightsError(
                f'"{pretrained}" has the weights of another architecture: {len(tensors)} tensors, {name} has '
                f'{len(names)}. Give weights of this architecture, or change the architecture in the config.'
            )
        # the package has timm's tensors in timm's order under other names
        return _from_state_dict(build, name, dict(zip(names, tensors, strict=True)), pretrained)
    if path.exists():
        return _from_state_dict(build, name, read_weights_file(path), pretrained)
    if is_file_name(pretrained) or (os.sep in pretrained and not pretrained.startswith(_HUB_PREFIXES)):
        raise PretrainedWeightsError(f'pretrained is "{pretrained}"; there is no such file or folder. {WAYS_OUT}')
    known = pretrained.removeprefix('timm/')
    if ':' not in known and not (timm.is_model(known) and timm.is_model_pretrained(known)):
        raise PretrainedWeightsError(
            f'timm {timm.__version__} has no weights named "{pretrained}". {closest_timm_names(known, pretrained=True)}'
        )
    try:
        with offline_if_unreachable():
            return build(known, True).state_dict()
    except (OSError, HfHubHTTPError, RuntimeError) as error:
        raise PretrainedWeightsError(
            f'The weights "{pretrained}" could not be fetched: {first_line(error)} {WAYS_OUT}'
        ) from error


def load_swin_weights(model: SwinTransformer, pretrained: str) -> None:
    """Set every tensor of timm's Swin up to its last stage.

    Args:
        model: without classifier and final norm; of any size.
        pretrained: a timm name, or a file or folder with timm's names, the original ones or UniCL's.

    Raises:
        PretrainedWeightsError: as :func:`timm_weights`.
    """

    def build(name: str, with_weights: bool, **overlay: object) -> nn.Module:
        return timm.create_model(name, pretrained=with_weights, num_classes=0, **overlay)

    path = Path(os.path.expanduser(pretrained))
    if path.exists():
        given = read_weights_file(path)
        if detect_encoder(given) == 'UniCL':
            prefix = 'backbone.model.'
            converted = encoder_to_ours(given).state_dict
            given = {name.removeprefix(prefix): value for name, value in converted.items() if name.startswith(prefix)}
    else:
        given = timm_weights(build, '', pretrained)
    # timm's rules for older names, patches and windows of another size
    given = checkpoint_filter_fn(dict(given), model)
    check_same_tensors(model.state_dict(), given, pretrained)
    model.load_state_dict({name: given[name] for name in model.state_dict()})


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """Tensors of a weights file, or of the one in a folder, read weights-only.

    Raises:
        PretrainedWeightsError: there is none, or it cannot be read.
    """
    if path.is_dir():
        found = [path / name for name in _FOLDER_FILES if (path / name).is_file()]
        if not found:
            raise PretrainedWeightsError(f'The folder "{path}" has no {" and no ".join(_FOLDER_FILES)}.')
        path = found[0]
    try:
        content = read_timm_file(str(path))
    except (OSError, RuntimeError, UnpicklingError, ValueError, EOFError, KeyError) as error:
        raise PretrainedWeightsError(f'"{path}" cannot be read as weights: {first_line(error)}') from error
    if not content or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise PretrainedWeightsError(f'"{path}" holds no weights: expected tensors by name.')
    return content


def is_file_name(pretrained: str) -> bool:
    """Whether a value of ``pretrained`` is meant as a file, present or not."""
    return Path(pretrained).suffix in ('.pth', '.pt', '.bin', '.safetensors', '.pkl', '.ckpt')


def closest_timm_names(name: str, pretrained: bool = False) -> str:
    """A sentence with timm's names that resemble ``name``."""
    names = timm.list_pretrained() if pretrained else timm.list_models()
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    return f'The closest names: {", ".join(close)}.' if close else 'timm.list_models() lists all names.'


def check_same_tensors(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that lack tensors or have others' shapes; further ones (a classifier) are fine.

    Raises:
        PretrainedWeightsError: names the tensors and both shapes.
    """
    problem = describe_misfit(wanted, given)
    if problem:
        raise PretrainedWeightsError(
            f'"{source}" has the weights of another architecture: {problem}. Give weights of this architecture, or '
            'change the architecture in the config.'
        )


def first_line(error: Exception) -> str:
    """First line of an error's text, with a full stop."""
    line = f'{error}'.partition('\n')[0].strip() or type(error).__name__
    return line if line.endswith(('.', '!', '?')) else f'{line}.'


def _from_state_dict(
    build: Callable[..., nn.Module], name: str, state_dict: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    """What the part of a model that makes features has of a whole model's weights."""
    model = timm.create_model(name, pretrained=False, num_classes=0)
    # timm keeps the rules for names of older files beside each architecture
    rename = getattr(sys.modules[type(model).__module__], 'checkpoint_filter_fn', None)
    given = state_dict if rename is None else rename(dict(state_dict), model)
    check_same_tensors(model.state_dict(), given, source)
    model.load_state_dict(given, strict=False)
    # complete and under current names, so that nothing can keep a random value
    return build(name, True, pretrained_cfg_overlay=dict(state_dict=model.state_dict(), source=None)).state_dict()
