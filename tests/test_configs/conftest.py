"""What a config needs that does not ship."""

import pytest

from tests.tiny_clip import write_folder


@pytest.fixture(scope='module')
def clip_vocab(tmp_path_factory):
    """CLIP's vocabulary does not ship; a small one stands in where a config asks for it."""
    return write_folder(tmp_path_factory.mktemp('clip') / 'vocabulary')
