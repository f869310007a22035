"""Draws one scene of the embedded data set: coloured, textured shapes on a cluttered background.

In: a seed, a split and a scene number. Out: a :class:`Scene` (picture, objects with visible masks and boxes).
Files and texts are made from scenes in ``shapes.py`` and ``shapes_text.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SPLITS = ('train', 'val', 'zero_shot')
SHAPES = ('circle', 'square', 'triangle', 'star', 'cross', 'diamond')
# Reference colours (red, green, blue), 0-255. Backgrounds are darker and greyer than all of them.
COLOURS = {
    'red': (226, 38, 38),
    'green': (36, 178, 62),
    'blue': (40, 92, 240),
    'yellow': (248, 214, 36),
    'purple': (176, 58, 206),
    'white': (246, 246, 246),
}
# Every colour and every shape is held out once, so each word is still seen in five other pairs.
HELD_OUT = (
    ('red', 'star'),
    ('green', 'triangle'),
    ('blue', 'circle'),
    ('yellow', 'square'),
    ('purple', 'cross'),
    ('white', 'diamond'),
)
SEEN = tuple((c, s) for c in COLOURS for s in SHAPES if (c, s) not in HELD_OUT)
TEXTURES = ('plain', 'striped', 'dotted', 'ringed')
# Radius in a scene of 160 px, growing with the scene. The gaps keep 'small' and 'large' free of borderline cases.
RADII = {'small': (16.0, 20.0), 'medium': (25.0, 30.0), 'large': (36.0, 42.0)}

_SIDE = (160, 256)  # shortest and longest scene side, pixels
_NUM_OBJECTS = (2, 4)  # tried; one that finds no place is left out
_SUPERSAMPLING = 4  # outlines are filled at this multiple, then averaged down
_REACH = 1.15  # furthest outline point from the centre, in radii
_MAX_TURN = {'circle': 0.0, 'square': 12.0, 'triangle': 25.0, 'star': 20.0, 'cross': 15.0, 'diamond': 12.0}
_MIN_VISIBLE_CROWDED = 0.55  # above the promised half: masks are counted in whole pixels
_MIN_VISIBLE = 0.95


@dataclass(frozen=True)
class SceneObject:
    """One drawn object.

    Attributes:
        mask: (H, W) bool, the pixels that are visible in the finished scene.
        box: xyxy edges of the visible pixels, so ``box[2] - box[0]`` is their width; scene pixels.
        visible: visible share of the whole object, 0.5 to 1.
    """

    colour: str
    shape: str
    size: str
    texture: str
    mask: np.ndarray
    box: tuple[int, int, int, int]
    visible: float


@dataclass(frozen=True)
class Scene:
    """A picture, (H, W, 3) uint8 in RGB order, and its objects in drawing order (later ones are in front)."""

    image: np.ndarray
    objects: tuple[SceneObject, ...]


def scene_rng(seed: int, split: str, index: int, stream: int = 0) -> np.random.Generator:
    """Random numbers that depend on the scene alone, so order and number of workers change nothing."""
    return np.random.default_rng([seed, SPLITS.index(split), index, stream])


def draw_scene(seed: int, split: str, index: int) -> Scene:
    """Draws scene ``index`` of a split; equal arguments give equal pixels.

    Only 'zero_shot' scenes contain held-out pairs: at least one each, beside seen pairs as distractors.
    """
    rng = scene_rng(seed, split, index)
    height, width = (int(v) for v in rng.integers(_SIDE[0], _SIDE[1] + 1, size=2))
    unit = (height + width) / (2 * _SIDE[0])
    canvas = _draw_background(rng, height, width)
    min_visible = _MIN_VISIBLE_CROWDED if rng.random() < 0.25 else _MIN_VISIBLE
    drawn: list[tuple[tuple[str, str, str, str], np.ndarray]] = []
    owner = np.full((height, width), -1, dtype=np.int8)  # index of the front-most object per pixel
    for _ in range(int(rng.integers(_NUM_OBJECTS[0], _NUM_OBJECTS[1] + 1))):
        colour, shape = _choose_pair(rng, split, [look[:2] for look, _ in drawn])
        size = str(rng.choice(list(RADII), p=(0.3, 0.4, 0.3)))
        texture = str(rng.choice(TEXTURES, p=(0.4, 0.2, 0.2, 0.2)))
        paint, alpha = _draw_object(rng, colour, shape, rng.uniform(*RADII[size]) * unit, texture)
        corner = _find_place(rng, owner, alpha >= 0.5, [mask for _, mask in drawn], min_visible)
        if corner is None:
            continue
        window = np.s_[corner[0] : corner[0] + alpha.shape[0], corner[1] : corner[1] + alpha.shape[1]]
        canvas[window] += alpha[..., None] * (paint - canvas[window])
        full = np.zeros((height, width), dtype=bool)
        full[window] = alpha >= 0.5
        owner[full] = len(drawn)
        drawn.append(((colour, shape, size, texture), full))
    canvas += rng.normal(0.0, rng.uniform(1.0, 4.0), size=canvas.shape)  # sensor noise
    objects = tuple(_finish_object(look, owner == k, full) for k, (look, full) in enumerate(drawn))
    return Scene(np.clip(canvas, 0, 255).round().astype(np.uint8), objects)


def _finish_object(look: tuple[str, str, str, str], mask: np.ndarray, full: np.ndarray) -> SceneObject:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return SceneObject(*look, mask=mask, box=box, visible=float(mask.sum() / full.sum()))


def _choose_pair(rng: np.random.Generator, split: str, present: list[tuple[str, str]]) -> tuple[str, str]:
    """Repeats a pair, or shares its colour or shape, more often than chance: this makes plural phrases and
    look-alikes that only the full name tells apart."""
    if split == 'zero_shot' and (not present or rng.random() < 0.4):
        pool: tuple[tuple[str, str], ...] = HELD_OUT
    else:
        pool = SEEN
    how = rng.random()
    if present and how < 0.5:
        colour, shape = present[int(rng.integers(len(present)))]
        same = [pair for pair in pool if pair == (colour, shape)]
        alike = [pair for pair in pool if (pair[0] == colour) != (pair[1] == shape)]
        pool = tuple((same if how < 0.22 else alike) or pool)
    return pool[int(rng.integers(len(pool)))]


def _find_place(
    rng: np.random.Generator,
    owner: np.ndarray,
    shape: np.ndarray,
    earlier: list[np.ndarray],
    min_visible: float,
) -> tuple[int, int] | None:
    """Top-left corner for a patch that leaves every earlier object visible enough; None after 25 tries.

    Args:
        owner: (H, W) front-most object per pixel, -1 for background.
        shape: (h, w) bool, the patch to place; it stays inside the picture.
        earlier: full (H, W) mask of each earlier object.
    """
    visible = np.array([np.count_nonzero(owner == k) for k in range(len(earlier))])
    total = np.array([np.count_nonzero(mask) for mask in earlier])
    for _ in range(25):
        top = int(rng.integers(0, owner.shape[0] - shape.shape[0] + 1))
        left = int(rng.integers(0, owner.shape[1] - shape.shape[1] + 1))
        covered = owner[top : top + shape.shape[0], left : left + shape.shape[1]][shape]
        hidden = np.bincount(covered[covered >= 0], minlength=len(earlier))
        if np.all(visible - hidden >= min_visible * total):
            return top, left
    return None


def _outline(shape: str) -> np.ndarray:
    """Corners of a shape around the origin, (n, 2) as (x right, y down), in radii."""
    if shape == 'circle':
        angles = np.arange(72) * (2 * np.pi / 72)
        return 0.95 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if shape == 'star':
        angles = np.arange(10) * (np.pi / 5) - np.pi / 2
        reach = np.where(np.arange(10) % 2 == 0, 1.12, 0.48)
        return reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if shape == 'triangle':
        angles = np.arange(3) * (2 * np.pi / 3) - np.pi / 2
        return 1.12 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if shape == 'square':
        return 0.8 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float)
    if shape == 'diamond':  # clearly taller than wide, or it would be a turned square
        return np.array([[0, -1.12], [0.64, 0], [0, 1.12], [-0.64, 0]])
    arm, width = 1.0, 0.33  # cross
    return np.array(
        [
            [-width, -arm],
            [width, -arm],
            [width, -width],
            [arm, -width],
            [arm, width],
            [width, width],
            [width, arm],
            [-width, arm],
            [-width, width],
            [-arm, width],
            [-arm, -width],
            [-width, -width],
        ]
    )


def _draw_object(
    rng: np.random.Generator, colour: str, shape: str, radius: float, texture: str
) -> tuple[np.ndarray, np.ndarray]:
    """Paint (h, w, 3) float 0-255 and coverage (h, w) float 0-1 of one object in a tight square patch."""
    turn = np.deg2rad(rng.uniform(-1, 1) * _MAX_TURN[shape])
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    side = int(np.ceil(2 * _REACH * radius)) + 2
    centre = side / 2 + rng.uniform(-0.5, 0.5, size=2)
    corners = _outline(shape) @ rotation * radius + centre
    fine = np.zeros((side * _SUPERSAMPLING,) * 2, dtype=np.uint8)
    # Pixel centres sit at +0.5; cv2 counts them from 0. 4 fractional bits keep sub-pixel positions.
    points = np.round((corners * _SUPERSAMPLING - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(fine, [points], 255, shift=4)
    alpha = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
    # Distance to the outline, scene pixels; drives the rim and the rings.
    depth = cv2.distanceTransform(fine, cv2.DIST_L2, 5) / _SUPERSAMPLING
    depth = cv2.resize(depth, (side, side), interpolation=cv2.INTER_AREA).astype(np.float64)

    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1) + 0.5 - centre
    angle = rng.uniform(0, np.pi)
    pattern = _texture_pattern(texture, grid, depth, radius, angle)
    rim = np.clip(1.6 - depth, 0, 1)  # thin dark edge: parts equal colours where objects overlap
    dark = np.maximum(0.3 * pattern, 0.4 * rim)
    light = 1.0 + 0.1 * (grid @ [np.cos(angle), np.sin(angle)]) / radius  # soft shading
    paint = (np.array(COLOURS[colour]) + rng.uniform(-10, 10, size=3)) * ((1 - dark) * light)[..., None]
    return np.clip(paint, 0, 255), alpha


def _texture_pattern(texture: str, grid: np.ndarray, depth: np.ndarray, radius: float, angle: float) -> np.ndarray:
    """How dark the pattern is per pixel, (h, w) in 0-1. Patterns darken an object's colour, never change it.

    Args:
        grid: (h, w, 2) pixel offsets from the object's centre.
        depth: (h, w) distance to the outline, pixels.
        angle: direction of the pattern, radians.
    """
    if texture == 'plain':
        return np.zeros(depth.shape)
    if texture == 'ringed':
        period = np.clip(0.3 * radius, 5.5, 10.0)
        return _soft_step(np.sin(2 * np.pi * (depth / period - 0.3)), period)
    period = np.clip(0.45 * radius, 6.5, 13.0)
    along = np.stack(
        [
            np.cos(angle) * grid[..., 0] + np.sin(angle) * grid[..., 1],
            np.cos(angle) * grid[..., 1] - np.sin(angle) * grid[..., 0],
        ]
    )
    if texture == 'striped':
        return _soft_step(np.sin(2 * np.pi * along[0] / period), period)
    cell = (along / period) % 1.0 - 0.5  # dotted
    return np.clip((0.31 - np.hypot(cell[0], cell[1])) * period + 0.5, 0, 1)


def _soft_step(wave: np.ndarray, period: float) -> np.ndarray:
    """Turns a sine into bands with edges about one pixel wide."""
    return np.clip(wave * period / (2 * np.pi) + 0.5, 0, 1)


def _draw_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Gradient with blobs, lines or grain; (height, width, 3) float 0-255, dull and not bright."""
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[0:height, 0:width]
    ramp = np.cos(angle) * xs / width + np.sin(angle) * ys / height
    ramp = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    first, second = _dull_colour(rng), _dull_colour(rng)
    canvas = first + ramp[..., None] * (second - first)
    kind = rng.choice(['plain', 'blobs', 'lines', 'grain'])
    if kind == 'blobs':
        layer = canvas.astype(np.float32)
        for _ in range(int(rng.integers(3, 9))):
            place = tuple(int(v) for v in rng.integers(0, (width, height)))
            axes = tuple(int(v) for v in rng.integers(8, 50, size=2))
            cv2.ellipse(layer, place, axes, float(rng.uniform(0, 180)), 0, 360, _dull_colour(rng).tolist(), -1)
        canvas = cv2.GaussianBlur(layer, (0, 0), float(rng.uniform(4, 9))).astype(np.float64)
    elif kind == 'lines':
        layer = np.clip(canvas, 0, 255).astype(np.uint8)
        for _ in range(int(rng.integers(4, 11))):
            ends = rng.integers(0, (width, height), size=(2, 2))
            cv2.line(
                layer,
                tuple(map(int, ends[0])),
                tuple(map(int, ends[1])),
                _dull_colour(rng).tolist(),
                int(rng.integers(1, 3)),
                cv2.LINE_AA,
            )
        canvas = layer.astype(np.float64)
    elif kind == 'grain':
        cell = int(rng.integers(2, 12))
        coarse = rng.normal(0, rng.uniform(5, 13), size=(height // cell + 2, width // cell + 2)).astype(np.float32)
        canvas += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    return canvas


def _dull_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour no object has: little saturation, at most middle brightness. (3,) float 0-255."""
    brightness = rng.uniform(20, 125)
    return brightness * (1 - rng.uniform(0, 0.7) * rng.dirichlet((1, 1, 1)))
