"""Image-text pairs with (pseudo) boxes in constant memory: ODVG jsonl, WebDataset shards. GLIP's TSVs: ``glip_tsv``.

Each leaves samples for ``BuildPrompt``; WebDataset samples bring the image along (``img_bytes``), for
``LoadStreamedImage``. All fit into mmdet's ``ConcatDataset`` and ``MixedSampler``.
"""

from __future__ import annotations

import json
import os.path as osp
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import get_worker_info

from glipv2_mmdet.datasets.lazy import LazyDataset
from glipv2_mmdet.datasets.line_offsets import LineReader
from glipv2_mmdet.datasets.odvg_records import ODVGError, Place, RecordParser, load_class_lists, parse_line


@DATASETS.register_module()
class IndexedODVGDataset(LazyDataset):
    """ODVG jsonl whose lines are read when they are asked for; for files too large for ``GroundedODVGDataset``.

    Args:
        ann_file: jsonl file, without blank lines.
        data_root: in front of ``ann_file``, ``image_folder`` and ``label_map_file``.
        image_folder: in front of every ``filename``.
        label_map_file: for detection records.
        pipeline: transforms.
        index_folder: see :class:`LineReader`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty.
        ODVGError: on reading a line that cannot be used.
    """

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        image_folder: str = '',
        label_map_file: str | None = None,
        pipeline: Sequence[Any] = (),
        index_folder: str | None = None,
    ) -> None:
        super().__init__(pipeline)
        self.lines = LineReader(osp.join(data_root, ann_file), index_folder)
        self._class_lists = load_class_lists(label_map_file, data_root)
        self._parse = RecordParser(osp.join(data_root, image_folder), self._class_lists, label_map_file)

    def __len__(self) -> int:
        return len(self.lines)

    def get_data_info(self, idx: int) -> dict:
        place = Place(str(self.lines.path), int(idx) + 1)
        sample = self._parse(parse_line(self.lines[idx], place), place)
        if 'text' not in sample:
            sample['text'] = self._class_lists[sample.pop('vocabulary')]
        return sample

    def get_caption(self, row: int) -> str:
        """The caption of a grounding record."""
        place = Place(str(self.lines.path), row + 1)
        record = parse_line(self.lines[row], place)
        try:
            return str(record['grounding']['caption'])
        except (KeyError, TypeError) as error:
            raise place.error(
                f'record {str(record)[:80]!r}',
                'a grounding record with a caption',
                'Take negative captions from files of captions only.',
            ) from error


@DATASETS.register_module()
class WebDatasetPairs(LazyDataset):
    """WebDataset shards (``<key>.jpg`` with ``<key>.json``, an ODVG record) read as an endless stream.

    Nothing is indexed: ``dataset[i]`` is the next pair of this worker, whatever ``i`` (so it cannot be grouped by
    ``AspectRatioBatchSampler``). Every rank and worker reads
    shards of its own, in an order shuffled anew each pass, through a shuffle buffer.

    Args:
        shards: paths or URLs; braces are expanded: 'cc3m-{00000..00331}.tar'.
        num_samples: length it claims; by it ``MixedSampler`` weighs it, and an index is drawn.
        shuffle_buffer: pairs kept to draw from; the only memory it takes.
        seed: None shares a random one between ranks.
        pipeline: transforms; the first should be ``LoadStreamedImage``.

    Raises:
        ImportError: the library is not installed.
        ValueError: a shard that is a command, or no shard for a worker.
        ODVGError: on reading a shard or record that cannot be used.
    """

    def __init__(
        self,
        shards: str | Sequence[str],
        num_samples: int,
        shuffle_buffer: int = 1000,
        seed: int | None = None,
        pipeline: Sequence[Any] = (),
    ) -> None:
        super().__init__(pipeline)
        wds = import_webdataset()
        patterns = [shards] if isinstance(shards, str) else shards
        self.shards = [shard for pattern in patterns for shard in wds.shardlists.expand_urls(pattern)]
        _refuse_commands(self.shards)
        self.num_samples = num_samples
        self.shuffle_buffer = shuffle_buffer
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self._parse = RecordParser()
        self._stream: Iterator[dict] | None = None

    def __len__(self) -> int:
        return self.num_samples

    def get_data_info(self, idx: int) -> dict:
        if self._stream is None:
            self._stream = self._pairs()
        pair = next(self._stream)
        # a stream that had raised would be over; this one goes on behind what was broken
        if isinstance(pair, ODVGError):
            raise pair
        return self._sample(pair)

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_stream': None}

    def _pairs(self) -> Iterator[dict | ODVGError]:
        """Pairs as they are in the shards, and the errors of shards that cannot be read to their end."""
        worker = get_worker_info()
        num_readers = self.world_size * (worker.num_workers if worker else 1)
        reader = self.rank * (worker.num_workers if worker else 1) + (worker.id if worker else 0)
        if reader >= len(self.shards):
            raise ValueError(
                f'{len(self.shards)} shards for {num_readers} readers (ranks times workers); expected at '
                f'least one each, such as those of {self.shards[:1]}. Use fewer workers or more shards.'
            )
        turn = 0
        while True:
            order = np.random.default_rng((self.seed, turn)).permutation(len(self.shards))
            mine = [self.shards[k] for k in order[reader::num_readers]]
            rng = np.random.default_rng((self.seed, turn, reader, 1))
            found = False
            for pair in _shuffled(_read_shards(mine), self.shuffle_buffer, rng):
                found = True
                yield pair
            if not found:
                yield ODVGError(
                    f'{mine[0]}: neither this shard nor any other of {len(mine)} has a pair in it. '
                    'Expected <key>.jpg and <key>.json. Check the paths, or make the shards again.'
                )
            turn += 1

    def _sample(self, pair: dict) -> dict:
        place = Place(str(pair.get('__url__')), pair['__key__'])
        image = next((pair[suffix] for suffix in ('jpg', 'jpeg', 'png', 'webp') if suffix in pair), None)
        if image is None or 'json' not in pair:
            raise place.error(
                f'members {sorted(name for name in pair if not name.startswith("_"))}',
                'an image and a .json with the ODVG record',
                'Write both under the same name.',
            )
        record = {'filename': pair['__key__'], 'image_id': pair['__key__'], **parse_line(pair['json'], place)}
        return {**self._parse(record, place), 'img_bytes': image}


def _refuse_commands(shards: Sequence[str]) -> None:
    """webdataset hands what stands behind ``pipe:`` to a shell; a list of shards must not be able to do that."""
    commands = [shard for shard in shards if shard.strip().lower().startswith('pipe:')]
    if commands:
        raise ValueError(
            f'The shard "{commands[0][:60]}" is a command that would run in a shell. Expected paths and '
            'http(s) addresses: write what the command gives into a file first.'
        )


def _read_shards(shards: Sequence[str]) -> Iterator[dict | ODVGError]:
    """The pairs of shards one after the other; an error in place of the rest of one that is broken."""
    wds = import_webdataset()
    for shard in shards:
        try:
            yield from wds.WebDataset(
                [shard], shardshuffle=False, nodesplitter=_all_of_them, workersplitter=_all_of_them, empty_check=False
            )
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            yield ODVGError(
                f'{shard}: the shard cannot be read to its end ({error}). Expected a tar file of '
                '<key>.jpg and <key>.json. Download or make it again.'
            )


def _all_of_them(shards: Iterator[Any]) -> Iterator[Any]:
    """Ranks and workers have divided the shards already."""
    yield from shards


def _shuffled(items: Iterator[Any], size: int, rng: np.random.Generator) -> Iterator[Any]:
    """A buffer from which a random item leaves for each that comes."""
    buffer: list[Any] = []
    for item in items:
        if len(buffer) < max(size, 1):
            buffer.append(item)
            continue
        place = int(rng.integers(len(buffer)))
        yield buffer[place]
        buffer[place] = item
    yield from (buffer[k] for k in rng.permutation(len(buffer)))


def import_webdataset() -> Any:
    """The library, or an ImportError that says how to get it."""
    try:
        import webdataset
    except ModuleNotFoundError as error:
        raise ImportError(
            "WebDataset shards need the library 'webdataset', which is not installed. "
            "Run: pip install 'glipv2_mmdet[webdataset]'"
        ) from error
    return webdataset


def write_pair(writer: Any, key: str, image: bytes, record: dict) -> None:
    """One pair into a ``webdataset.TarWriter``, as :class:`WebDatasetPairs` reads it."""
    writer.write({'__key__': key, 'jpg': image, 'json': json.dumps(record, ensure_ascii=False).encode()})
