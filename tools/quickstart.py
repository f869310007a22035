"""From nothing to boxes on real photos, and to a trained, tested nano GLIPv2: called by ``make quickstart``.

First the model that comes with the package, GLIPv2-mini, looks at two photos. Then a training from nothing: renders the
shapes data, trains in two processes, evaluates on scenes with seen pairs and on held-out pairs, looks for held-out
pairs by their names. Everything is written below work_dirs/quickstart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path('data/shapes')
OUTPUT = Path('work_dirs/quickstart')
TRAIN_CONFIG = 'configs/glipv2/glipv2_nano_shapes_pretrain.py'
ZERO_SHOT_CONFIG = 'configs/glipv2/glipv2_nano_shapes_zero_shot.py'
#: Photos of the package, and what to look for on each.
PHOTOS = {
    'glipv2_mmdet/demo/photos/cat.jpg': 'cat . dog . person',
    'glipv2_mmdet/demo/photos/astronaut.jpg': 'person . dog . tv monitor',
}
NUM_PROCESSES = 2
NUM_PICTURES = 6
SCORE_SHOWN = 0.3
ENLARGED = 3  # scenes are small; labels painted at their own size would cover the shapes
BOX_COLOURS = [(255, 0, 255), (0, 255, 255), (255, 140, 0), (140, 255, 60), (255, 90, 90), (120, 160, 255)]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--started',
        type=float,
        default=time.time(),
        help='when the whole call began, in seconds since 1970 (make passes it)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='settings to replace in the training config, for example train_cfg.max_iters=20',
    )
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    os.chdir(REPOSITORY)
    clear_results()
    python = sys.executable
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []

    photos, photo_seconds = find_on_photos(args.started)
    run_step('data', [python, 'tools/make_shapes.py', '--out', DATA, '--workers', NUM_PROCESSES])
    train_started = time.time()
    run_step('train', ['bash', 'tools/dist_train.sh', TRAIN_CONFIG, NUM_PROCESSES, '--work-dir', OUTPUT, *options])
    train_minutes = (time.time() - train_started) / 60
    checkpoint = Path((OUTPUT / 'last_checkpoint').read_text().strip())
    scores = {}
    for name, config in (('val', TRAIN_CONFIG), ('zero_shot', ZERO_SHOT_CONFIG)):
        run_step(name, ['bash', 'tools/dist_test.sh', config, checkpoint, NUM_PROCESSES, '--work-dir', OUTPUT / name])
        scores[name] = read_scores(OUTPUT / name)

    say('pictures', 'looking for held-out pairs by their names')
    pictures = draw_pictures(checkpoint)
    summary = {
        'box_ap': scores['val'][0],
        'box_ap50': scores['val'][1],
        'zero_shot_ap': scores['zero_shot'][0],
        'zero_shot_ap50': scores['zero_shot'][1],
        'minutes': round((time.time() - args.started) / 60, 2),
        'train_minutes': round(train_minutes, 2),
        'images': count_images('train'),
        'images_val': count_images('val'),
        'images_zero_shot': count_images('zero_shot'),
        'checkpoint': str(relative(checkpoint)),
        'photos': [str(photo) for photo in photos],
        'seconds_to_photos': photo_seconds,
        'pictures': [str(picture) for picture in pictures],
        'command': ' '.join(['make quickstart', *args.cfg_options]),
        'machine': machine(),
        'date': datetime.now().isoformat(timespec='seconds'),
    }
    (OUTPUT / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    report(summary)


def find_on_photos(started: float) -> tuple[list[Path], float]:
    """Boxes of the shipped model on the photos of the package; the files, and the seconds since ``started``."""
    for photo, prompt in PHOTOS.items():
        command = [sys.executable, '-W', 'ignore', '-m', 'glipv2_mmdet', 'detect', photo, prompt]
        run_step(Path(photo).stem, [*command, '--out', OUTPUT / 'photos' / Path(photo).stem])
    seconds = round(time.time() - started, 1)
    files = [OUTPUT / 'photos' / Path(photo).stem / Path(photo).name for photo in PHOTOS]
    say('photos', f'{len(files)} photos with boxes after {seconds:.0f} s: {", ".join(map(str, files))}')
    return files, seconds


def clear_results() -> None:
    """Remove what an earlier call reported, so that nothing old is taken for a result of this one."""
    for name in ('val', 'zero_shot', 'photos', 'pictures', 'logs'):
        shutil.rmtree(OUTPUT / name, ignore_errors=True)
    for name in ('summary.json', 'last_checkpoint'):
        (OUTPUT / name).unlink(missing_ok=True)
    (OUTPUT / 'logs').mkdir(parents=True)


def say(step: str, text: str) -> None:
    print(f'\n[{step}] {text}', flush=True)


def run_step(name: str, command: list[str | Path | int]) -> None:
    """Run a command, show and log what it writes; on failure name the step, the command and the log."""
    words = [str(word) for word in command]
    log_file = OUTPUT / 'logs' / f'{name}.log'
    say(name, ' '.join(words))
    # a step's Python is this one, also inside the shell scripts, and writes at once
    environment = dict(os.environ, PYTHON=sys.executable, PYTHONUNBUFFERED='1')
    started = time.time()
    with log_file.open('w', encoding='utf-8') as log:
        process = subprocess.Popen(
            words, env=environment, text=True, errors='replace', stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for line in process.stdout:
            log.write(line)
            sys.stdout.write(line)
            sys.stdout.flush()
        code = process.wait()
    if code:
        sys.exit(
            f"\nquickstart: step '{name}' failed (exit code {code}).\n"
            f'  command: {" ".join(words)}\n'
            f'  log:     {log_file}'
        )
    say(name, f'done in {time.time() - started:.0f} s')


def read_scores(work_dir: Path) -> tuple[float, float]:
    """Box AP and AP50 of the evaluation that wrote into ``work_dir``."""
    metrics = read_metrics(work_dir)
    found = {key.rsplit('/', 1)[-1]: value for key, value in metrics.items()}
    # COCO's metric reports nothing at all when there was not a single box
    return found.get('bbox_mAP', 0.0), found.get('bbox_mAP_50', 0.0)


def read_metrics(work_dir: Path) -> dict[str, float]:
    """What an evaluation wrote into ``work_dir``."""
    (metrics_file,) = work_dir.glob('*/*.json')
    return json.loads(metrics_file.read_text())


def count_images(split: str) -> int:
    return len(json.loads((DATA / 'annotations' / f'{split}.json').read_text())['images'])


def scenes_with_most_held_out_pairs() -> list[tuple[str, list[str]]]:
    """File names of zero-shot scenes with the names of the held-out pairs in them, most pairs first."""
    content = json.loads((DATA / 'annotations/zero_shot.json').read_text())
    names = {category['id']: category['name'] for category in content['categories']}
    present: dict[int, set[str]] = {image['id']: set() for image in content['images']}
    for annotation in content['annotations']:
        present[annotation['image_id']].add(names[annotation['category_id']])
    files = {image['id']: image['file_name'] for image in content['images']}
    ranked = sorted(present, key=lambda image_id: (-len(present[image_id]), image_id))
    return [(files[image_id], sorted(present[image_id])) for image_id in ranked[:NUM_PICTURES]]


def draw_pictures(checkpoint: Path) -> list[Path]:
    """Detect held-out pairs through mmdet's own API and paint what was found; returns the picture files."""
    # loading the libraries takes seconds, which earlier steps need not wait for
    import glipv2_mmdet  # noqa: F401

    # isort: split
    import mmcv
    from mmdet.apis import inference_detector, init_detector
    from mmdet.registry import VISUALIZERS

    model = init_detector(ZERO_SHOT_CONFIG, str(checkpoint), device='cpu', palette='random')
    visualizer = VISUALIZERS.build(dict(type='DetLocalVisualizer', name='quickstart', line_width=2))
    (OUTPUT / 'pictures').mkdir()
    pictures = []
    for file_name, names in scenes_with_most_held_out_pairs():
        image_file = DATA / 'images/zero_shot' / Path(file_name).name
        prompt = ' . '.join(names)
        result = inference_detector(model, str(image_file), text_prompt=prompt, custom_entities=True)
        num_found = int((result.pred_instances.scores >= SCORE_SHOWN).sum())
        image = mmcv.imread(str(image_file), channel_order='rgb')
        height, width = image.shape[:2]
        result.pred_instances.bboxes *= ENLARGED
        visualizer.dataset_meta = dict(classes=tuple(names), palette=BOX_COLOURS[: len(names)])
        picture = OUTPUT / 'pictures' / f'{image_file.stem}.png'
        visualizer.add_datasample(
            image_file.stem,
            mmcv.imresize(image, (width * ENLARGED, height * ENLARGED)),
            result,
            draw_gt=False,
            pred_score_thr=SCORE_SHOWN,
            out_file=str(picture),
        )
        print(f"[pictures] {picture}: '{prompt}', {num_found} boxes", flush=True)
        pictures.append(picture)
    return pictures


def relative(path: Path) -> Path:
    return path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path


def machine() -> dict[str, str | int]:
    return {
        'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1,
        'processor': platform.machine(),
        'system': platform.system(),
        'python': platform.python_version(),
    }


def report(summary: dict) -> None:
    minutes, train_minutes = summary['minutes'], summary['train_minutes']
    say('quickstart', f'finished after {minutes:.1f} minutes (training {train_minutes:.1f})')
    print(
        f'  photos with boxes: {", ".join(summary["photos"])}\n'
        f'  box AP on {summary["images_val"]} new scenes:            '
        f'{summary["box_ap"]:.3f}   (AP50 {summary["box_ap50"]:.3f})\n'
        f'  zero-shot AP on {summary["images_zero_shot"]} scenes, unseen pairs: '
        f'{summary["zero_shot_ap"]:.3f}   (AP50 {summary["zero_shot_ap50"]:.3f})\n'
        f'  checkpoint: {summary["checkpoint"]}\n'
        f'  pictures:   {OUTPUT / "pictures"}\n'
        f'  logs:       {OUTPUT / "logs"}\n'
        f'  figures:    {OUTPUT / "summary.json"}\n'
        'Next: source .venv/bin/activate, then glipv2 detect YOUR_PHOTO.jpg "dog . person" --out found/'
    )


if __name__ == '__main__':
    main()
