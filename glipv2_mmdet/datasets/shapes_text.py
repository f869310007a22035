"""Makes the words of the embedded data set from what was drawn: phrases, captions, questions and answers.

In: the objects of a :class:`~glipv2_mmdet.datasets.shapes_scene.Scene`. Out: text with exact object indices.
A phrase always means *every* object that fits it ('a red circle' is only said when there is one), so no
object is a hidden false negative. Where a horizontal flip would make a text wrong, it is marked so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glipv2_mmdet.datasets.shapes_scene import COLOURS, SHAPES, SceneObject

NUMBERS = ('no', 'one', 'two', 'three', 'four', 'five', 'six')
# Which attributes a phrase names: (size, texture, colour, shape), with how often.
_DETAIL = (
    ((0, 0, 1, 1), 8),
    ((0, 0, 0, 1), 4),
    ((0, 0, 1, 0), 3),
    ((0, 1, 0, 1), 3),
    ((1, 0, 0, 1), 2),
    ((0, 1, 1, 1), 3),
    ((1, 0, 1, 1), 3),
    ((0, 1, 0, 0), 2),
    ((1, 1, 1, 1), 2),
)
CLEAR_GAP = 8.0  # pixels between two centres along an axis before 'above' or 'left of' is said


@dataclass(frozen=True)
class Description:
    """Attributes that a phrase names; None means unnamed, and fits everything."""

    size: str | None = None
    texture: str | None = None
    colour: str | None = None
    shape: str | None = None

    def find(self, objects: tuple[SceneObject, ...]) -> tuple[int, ...]:
        """Indices of all objects that fit."""
        named = [(name, value) for name, value in vars(self).items() if value is not None]
        return tuple(k for k, item in enumerate(objects) if all(getattr(item, n) == v for n, v in named))

    def words(self, plural: bool = False) -> str:
        """'small striped red circle', or 'red things' when no shape is named."""
        noun = self.shape or 'thing'
        if plural:
            noun += 'es' if noun.endswith('s') else 's'
        return ' '.join(word for word in (self.size, self.texture, self.colour, noun) if word)


@dataclass(frozen=True)
class PhraseMatch:
    """A phrase and the objects it means; ``flippable`` is False when mirroring the picture makes it wrong."""

    text: str
    members: tuple[int, ...]
    flippable: bool = True


@dataclass(frozen=True)
class Grounding:
    """A caption and, per phrase, its half-open character spans and the objects it means."""

    caption: str
    phrases: tuple[tuple[str, tuple[tuple[int, int], ...], tuple[int, ...]], ...]


@dataclass(frozen=True)
class Question:
    """One question in VQA v2 terms; ``answer`` is what all ten annotators say."""

    text: str
    answer: str
    question_type: str
    answer_type: str
    flippable: bool = True


def describe(rng: np.random.Generator, item: SceneObject) -> Description:
    """A random description that fits ``item``. 'medium' is never said: it is no clear word for a size."""
    weights = np.array([weight for _, weight in _DETAIL], dtype=float)
    size, texture, colour, shape = _DETAIL[int(rng.choice(len(_DETAIL), p=weights / weights.sum()))][0]
    return Description(
        size=item.size if size and item.size != 'medium' else None,
        texture=item.texture if texture else None,
        colour=item.colour if colour else None,
        shape=item.shape if shape or not (texture or colour) else None,
    )


def make_grounding(rng: np.random.Generator, objects: tuple[SceneObject, ...]) -> Grounding:
    """Writes one caption from phrases that share no object.

    Half of the captions leave the articles out ('red circle, two blue stars'), so that class names as users
    type them and phrases in sentences look alike. Some name one object twice: one phrase with two spans.
    """
    groups: list[tuple[Description, tuple[int, ...]]] = []
    wanted = int(rng.choice([1, 2, 3, 4], p=(0.1, 0.3, 0.3, 0.3)))
    for k in rng.permutation(len(objects)):
        used = {member for _, members in groups for member in members}
        description = describe(rng, objects[k])
        members = description.find(objects)
        if len(groups) < wanted and k not in used and used.isdisjoint(members):
            groups.append((description, members))
    article = '' if rng.random() < 0.5 else 'a '
    texts = [_count_phrase(description, len(members), article) for description, members in groups]
    spans: list[list[tuple[int, int]]] = [[] for _ in groups]
    caption = ''

    def say(text: str, group: int | None = None) -> None:
        nonlocal caption
        if group is not None:
            spans[group].append((len(caption), len(caption) + len(text)))
        caption += text

    if article and rng.random() < 0.3:
        say(str(rng.choice(['there is ', 'we see ', 'a picture of '])))
    relation = _vertical_relation(objects, groups) if rng.random() < 0.5 else None
    for i, text in enumerate(texts):
        if i:
            say(f' {relation} ' if i == 1 and relation else ' and ' if i == len(texts) - 1 else ', ')
        say(text, i)
    first, members = groups[0]
    if article and len(members) == 1 and not first.size and objects[members[0]].size != 'medium' and rng.random() < 0.4:
        say('. ')
        say(f'the {first.words()}', 0)
        say(f' is {objects[members[0]].size}')
    return Grounding(caption, tuple((texts[i], tuple(spans[i]), groups[i][1]) for i in range(len(groups))))


def make_grounded_captions(
    rng: np.random.Generator, objects: tuple[SceneObject, ...], count: int = 5
) -> list[Grounding]:
    """``count`` captions of one scene, each ended with a full stop; a scene of few words may repeat one."""
    captions: list[Grounding] = []
    for _ in range(count):
        found = make_grounding(rng, objects)
        for _ in range(3):
            if found.caption + '.' not in {earlier.caption for earlier in captions}:
                break
            found = make_grounding(rng, objects)
        captions.append(Grounding(found.caption + '.', found.phrases))
    return captions


def make_captions(rng: np.random.Generator, objects: tuple[SceneObject, ...], count: int = 5) -> list[str]:
    """The texts of :func:`make_grounded_captions`."""
    return [grounding.caption for grounding in make_grounded_captions(rng, objects, count)]


def make_referring(
    rng: np.random.Generator, objects: tuple[SceneObject, ...], allowed: frozenset[int], count: int = 3
) -> list[PhraseMatch]:
    """Up to ``count`` different phrases for one or many objects, in the manner of PhraseCut and RefCOCO.

    Args:
        allowed: indices that may be meant; a phrase that also fits another object is left out.
    """
    found: dict[str, PhraseMatch] = {}
    for _ in range(4 * count):
        description = describe(rng, objects[int(rng.integers(len(objects)))])
        members = description.find(objects)
        if len(members) == 1:
            match = PhraseMatch(f'the {description.words()}', members)
        elif rng.random() < 0.5:
            match = PhraseMatch(
                f'{rng.choice(["all", "the " + NUMBERS[len(members)]])} {description.words(plural=True)}',
                members,
            )
        else:
            match = _extreme_one(rng, objects, description, members)
        if match is not None and allowed.issuperset(match.members) and len(found) < count:
            found[match.text] = match
    return list(found.values())


def make_questions(
    rng: np.random.Generator, objects: tuple[SceneObject, ...], pairs: tuple[tuple[str, str], ...]
) -> list[Question]:
    """Four to six questions about colour, shape, number, presence and position.

    Args:
        pairs: colour-shape pairs that may be asked for when the answer is 'no'.
    """
    questions = [_ask_presence(rng, objects, pairs), _ask_count(rng, objects)]
    for asked, known, opening in (
        ('colour', 'shape', 'what color is the'),
        ('shape', 'colour', 'what shape is the'),
    ):
        unique = [o for o in objects if sum(getattr(o, known) == getattr(other, known) for other in objects) == 1]
        if unique:
            item = unique[int(rng.integers(len(unique)))]
            words = Description(**{known: getattr(item, known)}).words()
            questions.append(Question(f'{opening} {words}?', getattr(item, asked), opening, 'other'))
    questions.extend(_ask_position(rng, objects))
    return questions


def _count_phrase(description: Description, count: int, article: str) -> str:
    if count == 1:
        return article + description.words()
    return f'{NUMBERS[count]} {description.words(plural=True)}'


def centre(item: SceneObject) -> np.ndarray:
    x1, y1, x2, y2 = item.box
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2])


def _vertical_relation(
    objects: tuple[SceneObject, ...], groups: list[tuple[Description, tuple[int, ...]]]
) -> str | None:
    """'above' or 'below' between the first two groups when each is one object and the gap is clear."""
    if len(groups) < 2 or any(len(members) != 1 for _, members in groups[:2]):
        return None
    first, second = (objects[members[0]] for _, members in groups[:2])
    if first.box[3] <= second.box[1]:
        return 'above'
    return 'below' if second.box[3] <= first.box[1] else None


def _extreme_one(
    rng: np.random.Generator,
    objects: tuple[SceneObject, ...],
    description: Description,
    members: tuple[int, ...],
) -> PhraseMatch | None:
    """'the top star' out of several; None when the place is too close to call."""
    place = str(rng.choice(['top', 'bottom', 'left', 'right']))
    axis = 0 if place in ('left', 'right') else 1
    order = sorted(members, key=lambda k: centre(objects[k])[axis])
    if place in ('bottom', 'right'):
        order.reverse()
    if abs(centre(objects[order[0]])[axis] - centre(objects[order[1]])[axis]) < CLEAR_GAP:
        return None
    return PhraseMatch(f'the {place} {description.words()}', (order[0],), flippable=axis == 1)


def _ask_presence(
    rng: np.random.Generator, objects: tuple[SceneObject, ...], pairs: tuple[tuple[str, str], ...]
) -> Question:
    present = sorted({(o.colour, o.shape) for o in objects})
    absent = [pair for pair in pairs if pair not in present]
    is_present = bool(rng.random() < 0.5)
    pool = present if is_present else absent
    colour, shape = pool[int(rng.integers(len(pool)))]
    return Question(f'is there a {colour} {shape}?', 'yes' if is_present else 'no', 'is there a', 'yes/no')


def _ask_count(rng: np.random.Generator, objects: tuple[SceneObject, ...]) -> Question:
    how = rng.random()
    item = objects[int(rng.integers(len(objects)))]
    if how < 0.4:
        description = Description(shape=item.shape)
    elif how < 0.7:
        description = Description(colour=item.colour)
    elif how < 0.85:
        description = Description(shape=str(rng.choice(SHAPES)))
    else:
        description = Description(colour=str(rng.choice(list(COLOURS))))
    return Question(
        f'how many {description.words(plural=True)} are there?',
        str(len(description.find(objects))),
        'how many',
        'number',
    )


def _ask_position(rng: np.random.Generator, objects: tuple[SceneObject, ...]) -> list[Question]:
    """Up to two questions about two objects that their colour and shape single out."""
    looks = [(o.colour, o.shape) for o in objects]
    single = [k for k, look in enumerate(looks) if looks.count(look) == 1]
    if len(single) < 2:
        return []
    a, b = (objects[k] for k in rng.permutation(single)[:2])
    gap = centre(a) - centre(b)
    name_a, name_b = (Description(colour=o.colour, shape=o.shape).words() for o in (a, b))
    questions = []
    if abs(gap[1]) >= CLEAR_GAP:
        asked = str(rng.choice(['above', 'below']))
        truth = 'above' if gap[1] < 0 else 'below'
        questions.append(
            Question(
                f'is the {name_a} {asked} the {name_b}?',
                'yes' if asked == truth else 'no',
                'is the',
                'yes/no',
            )
        )
    if abs(gap[0]) >= CLEAR_GAP:
        questions.append(
            Question(
                f'is the {name_a} on the left or right of the {name_b}?',
                'left' if gap[0] < 0 else 'right',
                'is the',
                'other',
                flippable=False,
            )
        )
    return questions
