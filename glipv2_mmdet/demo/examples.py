"""Images to try, with a prompt, a sentence and a question for each: two photos, or scenes of the embedded data."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from glipv2_mmdet.datasets.shapes_scene import SEEN, Scene, draw_scene, scene_rng
from glipv2_mmdet.datasets.shapes_text import make_grounded_captions, make_questions

# Not the seed that data sets are rendered with by default: a model that learned from those has not seen these.
_SEED = 21
_SPLIT = 'val'
_TEXT_STREAM = 1
#: Photos that come with the package; their README has the licences.
PHOTOS = Path(__file__).parent / 'photos'


@dataclass(frozen=True)
class Example:
    """One picture and what may be asked about it.

    Attributes:
        image: path of a png file.
        prompt: class list, 'red circle . blue square', of what is there and one thing that is not.
        sentence: a caption of the picture.
        question: about it.
    """

    image: str
    prompt: str
    sentence: str
    question: str


def photo_examples(folder: Path) -> tuple[Example, ...]:
    """The photos of the package, copied into ``folder``, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        'cat.jpg': ('cat . dog . person', 'A cat looks into the camera.', 'What animal is on the image?'),
        'astronaut.jpg': (
            'person . dog . tv monitor',
            'A woman in an orange suit in front of a flag.',
            'What color is the suit?',
        ),
    }
    return tuple(Example(str(shutil.copy(PHOTOS / name, folder / name)), *words) for name, words in texts.items())


def draw_examples(folder: Path, count: int = 4) -> tuple[Example, ...]:
    """Draws ``count`` scenes of at least three objects into ``folder``, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    examples: list[Example] = []
    index = 0
    while len(examples) < count:
        index += 1
        scene = draw_scene(_SEED, _SPLIT, index)
        if len(scene.objects) >= 3:
            path = folder / f'scene_{index}.png'
            Image.fromarray(scene.image).save(path)
            examples.append(_describe(scene, index, path))
    return tuple(examples)


def _describe(scene: Scene, index: int, path: Path) -> Example:
    rng = scene_rng(_SEED, _SPLIT, index, _TEXT_STREAM)
    present = list(dict.fromkeys(f'{item.colour} {item.shape}' for item in scene.objects))
    absent = [name for name in (f'{colour} {shape}' for colour, shape in SEEN) if name not in present]
    sentence = max((found.caption for found in make_grounded_captions(rng, scene.objects)), key=len)
    # what things look like before how many they are: small models learn that first
    questions = make_questions(rng, scene.objects, SEEN)
    question = next((q for q in questions if q.text.startswith('what')), questions[0])
    return Example(
        image=str(path),
        prompt=' . '.join([*present, absent[int(rng.integers(len(absent)))]]),
        sentence=sentence.rstrip('.'),
        question=question.text,
    )
