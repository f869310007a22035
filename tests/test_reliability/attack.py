"""Files that run something when they are unpickled: what they would do is create a file, so that it shows."""

from __future__ import annotations

import importlib.util
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
#: How a checkpoint may be written.
FORMATS = ('zip', 'legacy', 'pickle')


class Payload:
    """Creates a file when it is unpickled by an unprotected loader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.mark,)


def evil_checkpoint(file: Path, mark: Path, form: str = 'zip') -> Path:
    """A checkpoint with weights that look right, and a payload beside them."""
    content = {'state_dict': {'backbone.weight': torch.zeros(2)}, 'meta': {'x': Payload(mark)}}
    if form == 'pickle':
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == 'zip')
    return file


def evil_tar(file: Path, mark: Path) -> Path:
    """A WebDataset shard with members that webdataset's own decoders would unpickle."""
    evil = pickle.dumps(Payload(mark))
    members = {
        'a.jpg': b'no picture',
        'a.json': b'{"caption": "a dog"}',
        'a.pyd': evil,
        'a.pickle': evil,
        'a.pkl': evil,
        'a.pth': evil,
    }
    with tarfile.open(file, 'w') as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def evil_array(file: Path, mark: Path) -> Path:
    """A .npy file of objects."""
    np.save(file, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    return file


def load_tool(name: str) -> ModuleType:
    """A script of tools/ as a module, without running its main()."""
    spec = importlib.util.spec_from_file_location(f'tool_{name.replace("/", "_")}', REPOSITORY / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evil_program(file: Path, mark: Path) -> Path:
    """A ``.pt2`` program with a payload where its example inputs are."""
    clean = file.with_name('clean.pt2')
    torch.export.save(torch.export.export(torch.nn.Linear(1, 1), (torch.zeros(1, 1),)), str(clean))
    evil = io.BytesIO()
    torch.save(((Payload(mark),), {}), evil)
    with zipfile.ZipFile(clean) as read, zipfile.ZipFile(file, 'w') as write:
        for member in read.infolist():
            name = member.filename.replace('clean/', f'{file.stem}/', 1)
            write.writestr(name, evil.getvalue() if 'sample_inputs' in name else read.read(member))
    return file
