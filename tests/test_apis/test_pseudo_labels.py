"""Captions to boxes: what is kept, what is written, and that killing a run changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from glipv2_mmdet.apis import LabelSettings, label_shards
from glipv2_mmdet.datasets import GroundedODVGDataset
from tests.log_lines import log_lines

REPOSITORY = Path(__file__).resolve().parents[2]
TIME_OUT = 240


class Finder:
    """Finds fixed boxes for phrases 0 and 1 in every image, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def test_step(self, data):
        results = []
        for sample in data['data_samples']:
            self.asked.append((sample.text, sample.tokens_positive))
            found = InstanceData(
                bboxes=torch.tensor(
                    [[1.004, 2, 30, 40], [2, 2, 30, 40], [5, 5, 90, 50], [0, 0, 9, 9.0], [3, 3, 3.5, 9]]
                ),
                scores=torch.tensor([0.6, 0.9, 0.8, 0.5, 0.95]),
                labels=torch.tensor([0, 0, 1, 1, 1]),
            )
            results.append(DetDataSample(metainfo=dict(ori_shape=sample.ori_shape), pred_instances=found))
        return results


def _keep(results):
    return dict(
        inputs=torch.from_numpy(results['img']),
        data_samples=DetDataSample(metainfo={name: results[name] for name in ('text', 'tokens_positive', 'ori_shape')}),
    )


@pytest.fixture
def shards(tmp_path):
    """Two jsonl shards over four pictures of 80 x 60."""
    (tmp_path / 'images').mkdir()
    for number in range(4):
        cv2.imwrite(str(tmp_path / f'images/{number}.jpg'), np.full((60, 80, 3), 50 * number, dtype=np.uint8))
    captions = ['a dog runs on wet sand', 'the red car', 'is it', 'a cat']
    for shard in range(2):
        (tmp_path / f'cap-{shard}.jsonl').write_text(
            ''.join(
                json.dumps(dict(filename=f'{number}.jpg', caption=captions[number])) + '\n'
                for number in range(2 * shard, 2 * shard + 2)
            )
        )
    return [tmp_path / 'cap-0.jsonl', tmp_path / 'cap-1.jsonl']


def label(shards, model=None, **settings):
    folder = shards[0].parent
    rank = settings.pop('rank', 0), settings.pop('world_size', 1)
    counts = label_shards(
        model or Finder(), [_keep], shards, folder / 'out', folder / 'images', LabelSettings(**settings), *rank
    )
    return counts, folder / 'out'


def test_boxes_above_the_threshold_are_written_by_phrase_best_first(shards):
    model = Finder()
    counts, out = label(shards, model)
    assert model.asked[0] == ('a dog runs on wet sand', [[[0, 5]], [[14, 22]]])
    records = [json.loads(line) for line in (out / 'cap-0.jsonl').read_text().splitlines()]
    assert records[0] == dict(
        filename='0.jpg',
        height=60,
        width=80,
        grounding=dict(
            caption='a dog runs on wet sand',
            regions=[
                dict(bbox=[[2, 2, 30, 40], [1, 2, 30, 40]], score=[0.9, 0.6], phrase='a dog', tokens_positive=[[0, 5]]),
                dict(bbox=[[5, 5, 80, 50]], score=[0.8], phrase='wet sand', tokens_positive=[[14, 22]]),
            ],
        ),
    )
    assert counts == dict(shards=2, pairs=4, labelled=3, boxes=3 + 2 + 2, no_phrase=1)


def test_nms_drops_overlapping_boxes_of_a_phrase(shards):
    _, out = label(shards, nms_iou=0.5)
    record = json.loads((out / 'cap-0.jsonl').read_text().splitlines()[0])
    assert record['grounding']['regions'][0]['bbox'] == [[2, 2, 30, 40]]


def test_pairs_without_boxes_or_image_are_left_out(shards):
    counts, out = label(shards, score_thr=0.99)
    assert (out / 'cap-0.jsonl').read_text() == '' and counts['labelled'] == 0
    (shards[0].parent / 'images/3.jpg').write_bytes(b'no image')
    (shards[0].parent / 'images/1.jpg').unlink()
    (out / 'cap-1.jsonl').unlink(), (out / 'cap-0.jsonl').unlink()
    counts, _ = label(shards)
    assert (counts['unreadable'], counts['bad_records'], counts['labelled']) == (1, 1, 1)


def test_processes_divide_the_shards_and_finished_ones_are_left_alone(shards):
    counts, out = label(shards, rank=1, world_size=2)
    assert [path.name for path in out.iterdir()] == ['cap-1.jsonl'] and counts['shards'] == 1
    (out / 'cap-1.jsonl').write_text('kept')
    counts, _ = label(shards)
    assert (counts['shards'], counts['skipped_shards']) == (1, 1) and (out / 'cap-1.jsonl').read_text() == 'kept'


BAD_LINES = [
    b'{"filename": "3.jpg"}',
    b'{"filename": "3.jpg", "caption": null}',
    b'{"filename": 3, "caption": "a cat"}',
    b'["3.jpg", "a cat"]',
    b'{"filename": "3.jpg", "caption": "a c',
    b'{"filename": "3.jpg", "caption": "caf\xe9"}',
    b'{"filename": "folder", "caption": "a cat"}',
    b'{"filename": "pipe", "caption": "a cat"}',
    b'{"filename": "absent.jpg", "caption": "a cat"}',
    b'{"filename": "a\\u0000b.jpg", "caption": "a cat"}',
]


def test_bad_records_are_named_counted_and_skipped(shards):
    images = shards[0].parent / 'images'
    (images / 'folder').mkdir()
    os.mkfifo(images / 'pipe')  # opening it would wait for ever
    good = b'{"filename": "3.jpg", "caption": "a cat"}'
    shards[1].write_bytes(b'\n'.join([*BAD_LINES, good]) + b'\n')
    with log_lines() as lines:
        counts, out = label(shards)
    assert counts['bad_records'] == len(BAD_LINES) and counts['pairs'] == 2 + len(BAD_LINES) + 1
    assert len((out / 'cap-1.jsonl').read_text().splitlines()) == 1
    for number in range(1, len(BAD_LINES) + 1):
        assert any(f'cap-1.jsonl:{number} is skipped: ' in line for line in lines)


def test_an_image_that_scaling_leaves_no_pixel_of_is_skipped(shards):
    from mmcv.transforms import Compose, Resize

    cv2.imwrite(str(shards[0].parent / 'images/0.jpg'), np.zeros((1, 4000, 3), np.uint8))
    folder = shards[0].parent
    steps = Compose([Resize((80, 80), keep_ratio=True), _keep])
    counts = label_shards(Finder(), [steps], shards, folder / 'out', folder / 'images')
    assert (counts['unreadable'], counts['labelled']) == (1, 2)


def test_shards_of_one_name_are_refused(shards):
    with pytest.raises(ValueError, match=r'would be written to "cap-0\.jsonl"'):
        label([shards[0], Path('elsewhere/cap-0.tar')])


def test_the_result_is_training_data(shards):
    _, out = label(shards)
    dataset = GroundedODVGDataset(data_root=str(out), ann_file='cap-0.jsonl', pipeline=[])
    assert [len(sample['instances']) for sample in dataset] == [3, 2]


@pytest.mark.slow
def test_webdataset_in_and_out(shards):
    wds = pytest.importorskip('webdataset', reason="needs the extra 'webdataset': pip install webdataset")
    folder = shards[0].parent
    with wds.TarWriter(str(folder / 'in.tar')) as writer:
        for number in range(2):
            image = (folder / f'images/{number}.jpg').read_bytes()
            writer.write({'__key__': f'p{number}', 'jpg': image, 'txt': b'a dog on a sofa'})
    contents = []
    for _ in range(2):
        _, out = label([folder / 'in.tar'], output='webdataset')
        contents.append((out / 'in.tar').read_bytes())
        (out / 'in.tar').unlink()
        time.sleep(1.1)  # tar headers count seconds
    assert contents[0] == contents[1]
    label([folder / 'in.tar'], output='webdataset')
    from glipv2_mmdet.datasets import WebDatasetPairs

    dataset = WebDatasetPairs(str(out / 'in.tar'), 2, seed=0)
    samples = [dataset[0], dataset[0]]
    assert {sample['img_path'] for sample in samples} == {'p0', 'p1'}
    for sample in samples:
        assert len(sample['instances']) == 3 and sample['tokens_positive'] == [[[0, 5]], [[9, 15]]]


@pytest.mark.parametrize('settings', [dict(score_thr=1.0), dict(nms_iou=-1), dict(batch_size=0), dict(output='csv')])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match='expected'):
        LabelSettings(**settings)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_writes_the_bytes_of_an_undisturbed_one(shapes_dir, tmp_path):
    """The tool itself with a nano model: killed after its first shard, run again, compared."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    config = REPOSITORY / 'configs/glipv2/glipv2_nano_shapes_pretrain.py'
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    torch.nn.init.zeros_(model.bbox_head.bias0)  # a prior of one half: untrained, it still finds something
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'nano.pth')
    names = sorted(path.name for path in (shapes_dir / 'images/train').iterdir())
    for shard in range(4):
        (tmp_path / f's{shard}.jsonl').write_text(
            ''.join(
                json.dumps(dict(filename=names[number], caption=f'a red circle and {number} blue squares')) + '\n'
                for number in range(4 * shard, 4 * shard + 4)
            )
        )

    def command(out):
        return [
            sys.executable,
            str(REPOSITORY / 'tools/pseudo_label.py'),
            str(config),
            str(tmp_path / 'nano.pth'),
            *(str(tmp_path / f's{shard}.jsonl') for shard in range(4)),
            '--image-root',
            str(shapes_dir / 'images/train'),
            '--out',
            str(tmp_path / out),
            '--score-thr',
            '0.001',
            '--batch-size',
            '1',
        ]

    environment = dict(
        os.environ,
        OMP_NUM_THREADS='1',
        RANK='0',
        WORLD_SIZE='1',
        PYTHONPATH=os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')]),
    )
    settings = dict(env=environment, cwd=tmp_path, text=True)
    killed = subprocess.Popen(command('killed'), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **settings)
    end = time.monotonic() + TIME_OUT
    while not (tmp_path / 'killed/s0.jsonl').is_file():
        assert killed.poll() is None, killed.stderr.read()
        assert time.monotonic() < end, 'no shard was written in time'
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait(TIME_OUT)
    assert not (tmp_path / 'killed/s3.jsonl').is_file(), 'killed too late to show anything'
    for out in ('killed', 'whole'):
        done = subprocess.run(command(out), capture_output=True, timeout=TIME_OUT, **settings)
        assert done.returncode == 0, done.stderr
    for shard in range(4):
        whole = (tmp_path / f'whole/s{shard}.jsonl').read_bytes()
        assert whole and (tmp_path / f'killed/s{shard}.jsonl').read_bytes() == whole
