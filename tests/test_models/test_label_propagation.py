"""Which region-word pairs are positive across images, worked out by hand on two images and their four blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from glipv2_mmdet.models.losses.label_propagation import (
    NO_CATEGORY,
    box_categories,
    category_id,
    phrase_categories,
    positive_pairs,
    word_categories,
)
from glipv2_mmdet.text import Prompt, PromptTokenizer, prompt_from_caption, prompt_from_classes

TOKENIZER = PromptTokenizer()


def positive_words(prompts: Sequence[Prompt], labels: Sequence[Sequence[int]]) -> list[list[str]]:
    """Per region (a region per label, images in order) its positive words, as 'image:word'."""
    tokenized = [TOKENIZER(prompt) for prompt in prompts]
    regions = [(image, label) for image, of_image in enumerate(labels) for label in of_image]
    words = [(image, place) for image, item in enumerate(tokenized) for place in range(len(item.input_ids))]
    same_image = torch.tensor([[image == other for other, _ in words] for image, _ in regions])
    annotated = torch.tensor(
        [
            [image == other and place in tokenized[image].phrase_tokens[label] for other, place in words]
            for image, label in regions
        ]
    )
    pairs = positive_pairs(
        annotated,
        same_image,
        torch.tensor([box_categories(prompts[image], [label])[0] for image, label in regions]),
        torch.tensor([category for item in tokenized for category in word_categories(item)]),
    )
    names = [
        f'{image}:{TOKENIZER.tokenizer.convert_ids_to_tokens(tokenized[image].input_ids[place])}'
        for image, place in words
    ]
    return [[names[word] for word in row.nonzero().flatten().tolist()] for row in pairs]


def test_two_detection_images_by_hand():
    """Both prompts ask for cats; image 0 shows a cat and a car, image 1 shows a dog only.

    ============  =========================  ====================================================
    block         words of image 0           words of image 1
    ============  =========================  ====================================================
    regions of 0  annotation: cat; red, car  cat, because the prompt of image 1 asks for cats too,
                                             though its own image has none; nothing for the car
    regions of 1  nothing: nobody asks for   annotation: dog
                  dogs there
    ============  =========================  ====================================================
    """
    prompts = [prompt_from_classes(['cat', 'red car']), prompt_from_classes(['dog', 'cat'])]
    assert positive_words(prompts, [[0, 1], [0]]) == [['0:cat', '1:cat'], ['0:red', '0:car'], ['1:dog']]


def test_nothing_goes_into_or_out_of_a_sentence():
    """The sentence's cat is one cat: not every cat of the batch, and the other image's cat is not it."""
    prompts = [prompt_from_classes(['cat', 'dog']), prompt_from_caption('a cat sits', [[[0, 5]]])]
    assert positive_words(prompts, [[0], [0]]) == [['0:cat'], ['1:a', '1:cat']]


def test_nothing_goes_from_one_sentence_to_another_even_when_they_are_equal():
    prompts = [prompt_from_caption('a cat sits', [[[0, 5]]])] * 2
    assert positive_words(prompts, [[0], [0]]) == [['0:a', '0:cat'], ['1:a', '1:cat']]


def test_categories_meet_by_cleaned_name_whatever_their_number():
    """Two data sets number and spell a class differently; labels are 1 and 0 here."""
    prompts = [prompt_from_classes(['person', 'Traffic_Light']), prompt_from_classes(['traffic light'])]
    traffic_light = ['0:traffic', '0:light', '1:traffic', '1:light']
    assert positive_words(prompts, [[1], [0]]) == [traffic_light, traffic_light]


def test_a_shared_word_is_not_a_shared_category():
    prompts = [prompt_from_classes(['red car']), prompt_from_classes(['red bus', 'car'])]
    assert positive_words(prompts, [[0], [0]]) == [['0:red', '0:car'], ['1:red', '1:bus']]


def test_own_image_follows_the_annotation_where_two_classes_have_equal_words():
    """Both kinds of bow are "bow" once cleaned: inside the image they stay apart, across images they cannot."""
    bows = prompt_from_classes(['bow (weapon)', 'bow (ribbon)'])
    tokens = TOKENIZER(bows)
    first, second = (torch.zeros(len(tokens.input_ids), dtype=torch.bool) for _ in range(2))
    first[list(tokens.phrase_tokens[0])] = True
    categories = torch.tensor(word_categories(tokens))
    weapon = torch.tensor(box_categories(bows, [0]))
    own = positive_pairs(first[None], torch.ones_like(first)[None], weapon, categories)
    assert own.tolist() == [first.tolist()]
    other = positive_pairs(first[None], torch.zeros_like(first)[None], weapon, categories)
    second[list(tokens.phrase_tokens[1])] = True
    assert other.tolist() == [(first | second).tolist()]


def test_own_block_stands_where_this_rank_begins():
    """One region of category 7; own words are columns 2 and 3, where the annotation decides."""
    positive = positive_pairs(
        annotated=torch.tensor([[False, True]]),
        same_image=torch.tensor([[True, True]]),
        categories=torch.tensor([7]),
        other_categories=torch.tensor([7, NO_CATEGORY, 7, 7, 5]),
        start=2,
    )
    assert positive.tolist() == [[True, False, False, True, False]]


def test_no_category_equals_nothing_not_even_itself():
    none = torch.tensor([NO_CATEGORY])
    positive = positive_pairs(torch.tensor([[False]]), torch.tensor([[False]]), none, none)
    assert positive.tolist() == [[False]]


def test_category_id_is_the_same_number_in_every_process_and_release():
    """A literal: Python's own hash() would differ from process to process."""
    assert category_id('traffic light') == category_id(' Traffic_light (red)') == 1627340164799924707


def test_phrases_of_a_sentence_have_no_category():
    sentence = prompt_from_caption('a cat and a dog', [[[0, 5]], [[10, 15]]])
    assert phrase_categories(sentence) == (NO_CATEGORY, NO_CATEGORY)
    assert set(word_categories(TOKENIZER(sentence))) == {NO_CATEGORY}
