"""Public GLIP checkpoints: fetched from where mmdet's model list says, checked, converted, kept.

The file name ends in the first digits of the file's SHA-256, as mmdet publishes weights. A download that broke goes on
where it stopped; the converted file appears complete or not at all.
"""

from __future__ import annotations

import http
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from mmengine.logging import print_log

from glipv2_mmdet.apis.fetching import FetchError, open_url, read_block
from glipv2_mmdet.checkpoints import convert_file, sha256

#: Short name → model in mmdet's list of GLIP weights.
PUBLIC_MODELS = {
    'glip-t-a': 'glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365',
    'glip-t-b': 'glip_atss_swin-t_b_fpn_dyhead_pretrain_obj365',
    'glip-t-c': 'glip_atss_swin-t_c_fpn_dyhead_pretrain_obj365-goldg',
    'glip-t': 'glip_atss_swin-t_fpn_dyhead_pretrain_obj365-goldg-cc3m-sub',
    'glip-l': 'glip_atss_swin-l_fpn_dyhead_pretrain_mixeddata',
}
_HASH = re.compile(r'-([0-9a-f]{8})\.pth$')
#: Called with bytes so far and in all (0 where the server does not say).
Progress = Callable[[int, int], None]


class DownloadError(OSError):
    """A download that failed; the text says what to do."""


@dataclass(frozen=True)
class PublicCheckpoint:
    """A file on the web.

    Attributes:
        name: short name.
        url: of the file.
        sha256: the digits of its hash that its name has.
    """

    name: str
    url: str
    sha256: str

    @property
    def converted_name(self) -> str:
        """Name of the converted file; the hash keeps another version apart."""
        return f'{self.name.replace("-", "_")}-{self.sha256}.pth'


def cache_dir() -> Path:
    """``$GLIPV2_CACHE``, or ``~/.cache/glipv2_mmdet``."""
    return Path(os.environ.get('GLIPV2_CACHE') or Path.home() / '.cache' / 'glipv2_mmdet')


def public_checkpoint(name: str) -> PublicCheckpoint:
    """Where the weights of a short name are.

    Raises:
        ValueError: nobody has published weights under that name.
        DownloadError: the installed mmdet does not list them.
    """
    if name not in PUBLIC_MODELS:
        raise ValueError(
            f'There are no public weights for "{name}". Expected one of {", ".join(PUBLIC_MODELS)}; '
            'GLIPv2 weights were never published.'
        )
    import mmdet

    metafile = Path(mmdet.__file__).parent / '.mim' / 'configs' / 'glip' / 'metafile.yml'
    if not metafile.is_file():
        raise DownloadError(
            f'The installed mmdet has no "{metafile}", which lists public weights. Install a release '
            'of mmdet: pip install mmdet==3.3.0'
        )
    models = yaml.safe_load(metafile.read_text(encoding='utf-8'))['Models']
    urls = [model['Weights'] for model in models if model['Name'] == PUBLIC_MODELS[name]]
    match = _HASH.search(urls[0]) if urls else None
    if match is None:
        raise DownloadError(
            f'mmdet\'s "{metafile}" has no weights with a hash for {PUBLIC_MODELS[name]}. Install mmdet 3.3.0.'
        )
    return PublicCheckpoint(name, urls[0], match.group(1))


def downloaded_weights(name: str) -> Path | None:
    """The converted file of a short name, where it was downloaded before."""
    if name not in PUBLIC_MODELS:
        return None
    files = sorted(cache_dir().glob(f'{name.replace("-", "_")}-????????.pth'))
    if files:
        print_log(f'Weights: {files[-1]}', logger='current')
    return files[-1] if files else None


def download(
    checkpoint: PublicCheckpoint,
    folder: str | Path,
    mirror: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Fetch, check and convert a checkpoint.

    Args:
        checkpoint: what to fetch.
        folder: for the converted file; one that is there already is returned at once.
        mirror: address in place of the scheme and host of the file's, for a server with the same files.
        progress: told how far it is.

    Raises:
        DownloadError: no connection, it broke, or the content is not what the name promises.
        CheckpointError: the content are no GLIP weights.
    """
    folder = Path(folder)
    target = folder / checkpoint.converted_name
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    url = checkpoint.url if mirror is None else mirror.rstrip('/') + urlsplit(checkpoint.url).path
    # keeps the name under which a broken download is found again
    part = folder / f'{url.rsplit("/", 1)[-1]}.part'
    try:
        _fetch(url, part, progress)
    except FetchError as error:
        kept = (
            f' The {part.stat().st_size:,} bytes so far are kept; repeat the command to go on.'
            if part.is_file() and part.stat().st_size
            else ''
        )
        raise DownloadError(
            f'{error}{kept} Without a connection, copy the file from another machine and convert it '
            'with tools/model_converters/glip_to_glipv2.py.'
        ) from error
    digest = sha256(part)
    if not digest.startswith(checkpoint.sha256):
        part.unlink()
        raise DownloadError(
            f'{url}: the file has SHA-256 {digest[:8]}..., its name says {checkpoint.sha256}. It was '
            'damaged or is another one, and is removed. Repeat the command; if it happens again, do '
            'not use that server.'
        )
    convert_file(part, target)
    part.unlink()
    return target


def _fetch(url: str, part: Path, progress: Progress) -> None:
    """Complete the file ``part`` from an address."""
    done = part.stat().st_size if part.is_file() else 0
    headers = {'Range': f'bytes={done}-'} if done else {}
    try:
        with open_url(url, headers=headers) as response:
            # a server that knows no ranges begins again
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            if resumed and not response.headers.get('Content-Range', '').startswith(f'bytes {done}-'):
                raise FetchError(f'{url}: the server sent another range than asked for.')
            done = done if resumed else 0
            total = done + (response.length or 0)
            with open(part, 'ab' if resumed else 'wb') as file:
                while block := read_block(response, url):
                    file.write(block)
                    done += len(block)
                    progress(done, total)
    except FetchError as error:
        # all of it is there: it broke off between the last byte and the check
        if not headers or error.status != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
