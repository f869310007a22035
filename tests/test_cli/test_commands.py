"""Each command in this process: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from glipv2_mmdet.apis import downloads
from glipv2_mmdet.apis.downloads import PublicCheckpoint
from glipv2_mmdet.cli import download as download_command
from glipv2_mmdet.cli import main
from glipv2_mmdet.cli.main import COMMANDS
from glipv2_mmdet.cli.output import file_name
from tests.http_server import web_server
from tests.test_checkpoints.tiny_glip import mmdet_weights

PROMPT = 'red circle . blue square'


@pytest.fixture
def run(nano_files, capsys):
    """Runs a command with a nano model; (exit code, standard output, standard error)."""

    def call(command: str, *words: str, model: str = 'glipv2-nano') -> tuple[int, str, str]:
        config, weights = nano_files(model)
        capsys.readouterr()  # what making the files logged
        code = main([command, *map(str, words), '--model', config, '--weights', weights, '--device', 'cpu'])
        return code, *capsys.readouterr()

    return call


def test_detect_writes_a_picture_per_image_and_their_numbers(run, shapes_dir, tmp_path):
    code, out, err = run(
        'detect',
        shapes_dir / 'images/val',
        PROMPT,
        '--threshold',
        '0',
        '--max-boxes',
        '2',
        '--batch-size',
        '3',
        '--out',
        tmp_path / 'out',
    )
    assert code == 0 and len(out.splitlines()) == 8 * 3
    assert out.splitlines()[0].endswith('000001.jpg: 2 found')
    assert 'is Python code' in err and '8 pictures' in err
    records = json.loads((tmp_path / 'out/results.json').read_text())
    assert [record['picture'] for record in records] == [f'{number:06d}.jpg' for number in range(1, 9)]
    assert all(len(record['objects']) == 2 for record in records)
    assert all(Image.open(tmp_path / 'out' / record['picture']).width >= 320 for record in records)


def test_captions_take_what_a_shell_makes_of_a_pattern(run, scenes):
    code, out, _ = run('caption', *scenes[:2], '--max-words', '1', '--beam-size', '1', model='glipv2-nano-caption')
    assert code == 0 and [line.split(': ')[0] for line in out.splitlines()] == list(scenes[:2])


def test_json_lines_are_all_there_is_on_standard_output(run, scenes):
    code, out, _ = run('detect', scenes[0], PROMPT, '--threshold', '0', '--max-boxes', '1', '--json')
    (content,) = map(json.loads, out.splitlines())
    assert code == 0 and content['source'] == scenes[0] and len(content['objects']) == 1


@pytest.mark.parametrize(
    'model, command, words, check',
    [
        (
            'glipv2-nano-mask',
            'segment',
            (PROMPT, '--threshold', '0', '--max-boxes', '2'),
            lambda content: (
                len(content['objects']) == 2
                and content['objects'][0]['mask']['size'] == [content['height'], content['width']]
            ),
        ),
        (
            'glipv2-nano',
            'ground',
            ('a red circle above a star', '--phrases', 'star'),
            lambda content: [phrase['name'] for phrase in content['phrases']] == ['star'],
        ),
        (
            'glipv2-nano',
            'ground',
            ('the star on the left', '--whole'),
            lambda content: [phrase['name'] for phrase in content['phrases']] == ['the star on the left'],
        ),
        (
            'glipv2-nano-vqa',
            'ask',
            ('is there a star?', '--answers', '3'),
            lambda content: content['question'] == 'is there a star?' and len(content['answers']) == 3,
        ),
        (
            'glipv2-nano-caption',
            'caption',
            ('--max-words', '3', '--beam-size', '1'),
            lambda content: bool(content['caption']),
        ),
    ],
)
def test_other_tasks(run, scenes, model, command, words, check):
    code, out, _ = run(command, scenes[0], *words, '--json', model=model)
    assert code == 0 and check(json.loads(out))
    code, out, _ = run(command, scenes[0], *words, model=model)
    assert code == 0 and out.startswith(f'{scenes[0]}: ')


def test_a_saved_folder_is_a_model(nano_files, tmp_path, scenes, capsys):
    from glipv2_mmdet import GLIPv2Inferencer

    GLIPv2Inferencer(*nano_files('glipv2-nano'), 'cpu').save_pretrained(tmp_path / 'nano')
    assert main(['detect', scenes[0], PROMPT, '--model', str(tmp_path / 'nano'), '--device', 'cpu']) == 0
    assert 'Python code' not in capsys.readouterr().err


@pytest.mark.parametrize(
    'words, message',
    [
        (('nowhere.jpg', PROMPT), 'There is no image "nowhere.jpg"'),
        (('{image}', ' . '), 'no letter or digit'),
        (('{image}',), 'There is no prompt'),
        (('{image}', '{image}'), 'has to be the prompt, and "{image}" is an image'),
        (('{image}', 'b.JPG'), 'has to be the prompt, and "b.JPG" is an image'),
        (('{image}', PROMPT, '--threshold', '2'), 'threshold is 2.0'),
    ],
)
def test_errors_are_one_line_and_code_2(run, scenes, words, message):
    code, out, err = run('detect', *(word.replace('{image}', scenes[0]) for word in words))
    lines = [line for line in err.splitlines() if not line.startswith('Warning')]
    assert code == 2 and not out and len(lines) == 1
    assert lines[0].startswith('glipv2 detect: ') and message.replace('{image}', scenes[0]) in lines[0]


def test_a_missing_head_and_wrong_weights_are_such_lines(run, nano_files, scenes, capsys):
    code, _, err = run('caption', scenes[0])
    assert code == 2 and 'glipv2_t_caption.py' in err and 'Traceback' not in err
    config, _ = nano_files('glipv2-nano-mask')
    _, weights = nano_files('glipv2-nano')
    assert main(['segment', scenes[0], PROMPT, '--model', config, '--weights', weights, '--device', 'cpu']) == 2
    assert 'lacks: "mask_head' in capsys.readouterr().err


def test_debug_shows_where(scenes):
    with pytest.raises(ValueError, match='no model "glipv3"'):
        main(['detect', scenes[0], PROMPT, '--model', 'glipv3', '--debug'])


def test_a_broken_config_is_a_line_too(tmp_path, scenes, capsys):
    (tmp_path / 'broken.py').write_text('model = dict(')
    assert main(['detect', scenes[0], PROMPT, '--model', str(tmp_path / 'broken.py')]) == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith('glipv2 detect: SyntaxError') and '--debug' in err


@pytest.mark.parametrize('command', COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, '--help'])
    assert caught.value.code == 0 and f'glipv2 {command}' in capsys.readouterr().out


def test_a_command_is_required(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2 and 'COMMAND' in capsys.readouterr().err


def test_download_prints_the_file_that_models_find(tmp_path, monkeypatch, capsys):
    buffer = io.BytesIO()
    torch.save(dict(state_dict=mmdet_weights()), buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    path = f'/glip/glip_tiny_mmdet-{digest}.pth'
    monkeypatch.setenv('GLIPV2_CACHE', str(tmp_path))
    monkeypatch.setattr(
        download_command,
        'public_checkpoint',
        lambda name: PublicCheckpoint(name, f'https://weights.example{path}', digest),
    )
    with web_server() as server:
        assert main(['download', 'glip-t', '--mirror', server.url]) == 2
        assert 'says 404' in capsys.readouterr().err
        server.files[path] = buffer.getvalue()
        assert main(['download', 'glip-t', '--mirror', server.url]) == 0
    printed = Path(capsys.readouterr().out.strip())
    assert printed.parent == tmp_path and downloads.downloaded_weights('glip-t') == printed


def test_pictures_of_equal_names_stay_apart():
    taken: set[str] = set()
    names = [
        file_name(source, taken)
        for source in ('a/photo.png', 'b/photo.jpg', 'clip.mp4#12', 'https://x/y/photo.jpg?size=1', 'https://x/')
    ]
    assert names == ['photo.jpg', 'photo_2.jpg', 'clip_000012.jpg', 'photo_3.jpg', 'x.jpg']


def test_several_images_and_one_prompt_behind_them(run, scenes):
    code, out, _ = run('detect', *scenes[:3], PROMPT, '--threshold', '0', '--max-boxes', '1', '--json')
    assert code == 0 and [json.loads(line)['source'] for line in out.splitlines()] == list(scenes[:3])


def test_an_error_at_a_late_image_leaves_the_results_of_those_before(run, scenes, tmp_path):
    (tmp_path / 'damaged.jpg').write_bytes(b'no image')
    code, _, err = run('detect', *scenes[:2], tmp_path / 'damaged.jpg', PROMPT, '--out', tmp_path / 'out')
    assert code == 2 and 'damaged.jpg' in err
    records = json.loads((tmp_path / 'out/results.json').read_text())
    assert [record['source'] for record in records] == list(scenes[:2])


def test_names_in_another_encoding_and_control_characters_are_written_as_escapes(run, scenes, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    name = os.fsdecode(b'caf\xe9\x1b[31m.png')  # Latin-1 and a terminal's colour code
    shutil.copy(scenes[0], folder / name)
    code, out, _ = run('detect', folder, PROMPT, '--out', tmp_path / 'out')
    (record,) = json.loads((tmp_path / 'out/results.json').read_text(encoding='utf-8'))
    assert code == 0 and record['source'].endswith('caf\\udce9\\x1b[31m.png') and '\x1b' not in out


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_image(run, scenes, tmp_path):
    (tmp_path / 'file').touch()
    code, out, err = run('detect', scenes[0], PROMPT, '--out', tmp_path / 'file')
    assert code == 2 and not out and 'where nothing can be written' in err


def test_results_of_an_earlier_call_stay_until_new_ones_are_complete(scenes, tmp_path):
    from glipv2_mmdet.cli.output import ResultFolder

    (tmp_path / 'results.json').write_text('[1]')
    folder = ResultFolder(tmp_path)
    assert (tmp_path / 'results.json').read_text() == '[1]' and (tmp_path / 'results.jsonl').is_file()
    folder.close()
    assert json.loads((tmp_path / 'results.json').read_text()) == [] and not (tmp_path / 'results.jsonl').exists()


def test_ctrl_c_leaves_the_results_so_far(nano_files, scenes, tmp_path):
    """The real signal, sent to the real command once two pictures are there."""
    config, weights = nano_files('glipv2-nano')
    command = [
        sys.executable,
        '-W',
        'ignore',
        '-m',
        'glipv2_mmdet',
        'detect',
        *scenes * 400,
        PROMPT,
        '--threshold',
        '0',
    ]
    command += ['--model', config, '--weights', weights, '--device', 'cpu', '--out', str(tmp_path / 'out')]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / 'out').glob('*.jpg'))) < 3:  # the last one may have no numbers yet
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    records = json.loads((tmp_path / 'out/results.json').read_text())
    assert process.returncode == 130 and b'Traceback' not in err
    assert len(records) >= 2 and all((tmp_path / 'out' / record['picture']).is_file() for record in records)


def test_run_takes_a_script_with_its_options_and_names_tools_that_are_close(tmp_path, capsys):
    script = tmp_path / 'own.py'
    script.write_text('import sys\nfrom mmcv.ops import nms\nprint(sys.argv[1:], callable(nms))\n')
    assert main(['run', str(script), '--deep', '3']) == 0
    assert "['--deep', '3'] True" in capsys.readouterr().out
    assert main(['run', 'get_flop']) == 2
    assert 'Did you mean analysis_tools/get_flops?' in capsys.readouterr().err
