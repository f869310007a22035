"""GLIPv2Inferencer: the same numbers as mmdet's API, calls that leave no trace, and errors that name the fix."""

from __future__ import annotations

import copy
import logging
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector
from mmengine.logging import MMLogger
from PIL import Image

from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.apis import MissingHeadError
from glipv2_mmdet.apis.images import ImageInputError
from glipv2_mmdet.apis.results import Detections, Grounding
from glipv2_mmdet.checkpoints import CheckpointError
from glipv2_mmdet.models import TunedPrompt
from glipv2_mmdet.models.prompt_tuning import PromptTuning
from glipv2_mmdet.models.tuned_prompt import base_fingerprint
from glipv2_mmdet.text import PromptError
from tests.test_apis.conftest import nano_config, write_weights

PROMPT = 'red circle . blue square'
LOW = dict(threshold=0.0, max_boxes=20)


def same(first: Detections, second: Detections) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ('boxes', 'scores', 'labels'))


def test_boxes_are_those_of_mmdets_api(nano, scenes):
    model = nano('glipv2-nano')
    found = model.detect(scenes[0], PROMPT, **LOW)
    detector = copy.copy(model.model)
    detector.cfg = nano_config('glipv2-nano')
    expected = inference_detector(detector, scenes[0], text_prompt=PROMPT, custom_entities=True).pred_instances[:20]
    assert found.boxes.shape == (20, 4) and found.boxes.dtype == np.float32
    assert np.array_equal(found.boxes, expected.bboxes.numpy())
    assert np.array_equal(found.scores, expected.scores.numpy())
    assert list(found.names) == expected.label_names and found.phrases[0].name == 'red circle'
    assert np.array_equal(found.image, cv2.imread(scenes[0])[..., ::-1]) and found.source == scenes[0]


def test_a_path_an_array_and_a_pil_image_give_the_same_boxes(nano, scenes):
    model = nano('glipv2-nano')
    expected = model.detect(scenes[0], PROMPT, **LOW)
    for image in (expected.image, Image.open(scenes[0])):
        assert same(model.detect(image, ['red circle', 'blue square'], **LOW), expected)


def test_one_image_gives_one_result_and_several_a_list(nano, scenes, shapes_dir):
    model = nano('glipv2-nano')
    singles = [model.detect(scene, PROMPT, **LOW) for scene in scenes]
    listed = model.detect(scenes, PROMPT, **LOW)
    assert isinstance(listed, list) and all(map(same, listed, singles))
    assert len(model.detect(shapes_dir / 'images/val', PROMPT, batch_size=3, progress=True)) == 8
    streamed = model.detect(scenes, PROMPT, stream=True, **LOW)
    assert iter(streamed) is streamed and all(map(same, streamed, singles))


def test_images_of_one_size_are_the_same_in_a_batch(nano, scenes):
    model = nano('glipv2-nano')
    image = model.detect(scenes[0], PROMPT).image
    images = [image, image[:, ::-1].copy()]
    for alone, together in zip(
        model.detect(images, PROMPT, **LOW), model.detect(images, PROMPT, batch_size=2, **LOW), strict=True
    ):
        assert np.allclose(alone.scores, together.scores, atol=1e-5)
        assert np.allclose(alone.boxes, together.boxes, atol=1e-2)


def test_settings_hold_for_one_call_only(nano, scenes):
    model = nano('glipv2-nano')
    before = copy.deepcopy(model.model.test_cfg)
    parts = dict(model.model.named_children())
    default = model.detect(scenes[0], PROMPT)
    assert default.scores.min(initial=1) > 0.3
    many = model.detect(scenes[0], PROMPT, threshold=0.0, max_boxes=300, nms_iou=0.9)
    few = model.detect(scenes[0], PROMPT, threshold=0.0, max_boxes=3, nms_iou=0.1)
    assert len(many) > 100 and len(few) == 3
    assert same(model.detect(scenes[0], PROMPT), default)
    assert model.model.test_cfg == before and model.model.bbox_head.test_cfg == before
    assert all(getattr(model.model, name) is part for name, part in parts.items())


def test_a_low_threshold_reaches_below_that_of_the_config(scenes, tmp_path):
    config = nano_config('glipv2-nano', **{'model.test_cfg.score_thr': 0.9})
    model = GLIPv2Inferencer(config, write_weights(config, tmp_path / 'nano.pth'), 'cpu')
    assert len(model.detect(scenes[0], PROMPT, **LOW)) == 20


def test_eight_threads_get_what_one_gets(nano, scenes):
    model = nano('glipv2-nano')
    prompts = [PROMPT, 'green star', 'white triangle . yellow cross . red diamond', 'purple diamond']
    calls = [(scene, prompt, 5 * k + 1) for scene in scenes for k, prompt in enumerate(prompts)] * 2

    def call(arguments):
        scene, prompt, most = arguments
        return model.detect(scene, prompt, threshold=0.0, max_boxes=most)

    alone = list(map(call, calls))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(call, calls))
    assert all(map(same, alone, together)) and [len(found) for found in together] == [most for *_, most in calls]


def test_video_frames_are_an_iterator(nano, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / 'clip.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (96, 64))
    for level in (50, 200):
        writer.write(np.full((64, 96, 3), level, np.uint8))
    writer.release()
    results = nano('glipv2-nano').detect(tmp_path / 'clip.avi', PROMPT, batch_size=2)
    assert not isinstance(results, list)
    assert [result.source for result in results] == [f'{tmp_path}/clip.avi#0', f'{tmp_path}/clip.avi#1']


@pytest.mark.parametrize('batch_size', [1, 3])
def test_an_endless_generator_is_read_a_batch_ahead(nano, batch_size):
    taken = []

    def camera():
        while True:
            taken.append(len(taken))
            yield np.full((64, 64, 3), len(taken), np.uint8)

    results = nano('glipv2-nano').detect(camera(), PROMPT, stream=True, batch_size=batch_size)
    assert taken == []
    for number in range(1, 2 * batch_size + 1):
        assert next(results).image[0, 0, 0] == number
        assert len(taken) == -(-number // batch_size) * batch_size


def test_a_generator_goes_with_one_question_each_and_takes_no_image_too_many(nano, scenes):
    images = iter([*scenes[:2], 'nowhere.jpg'])
    found = nano('glipv2-nano').ground(images, ['a red circle', 'a blue square'], **LOW)
    assert [grounding.source for grounding in found] == scenes[:2] and next(images) == 'nowhere.jpg'
    with pytest.raises(ImageInputError, match=r'gave 1 images for 2 texts\. Give one text for all'):
        nano('glipv2-nano').ground(iter(scenes[:1]), ['a red circle', 'a blue square'], **LOW)
    with pytest.raises(ImageInputError, match='The generator gave no image'):
        nano('glipv2-nano').detect(iter([]), PROMPT)


def test_masks_come_with_segment_and_not_with_detect(nano, scenes):
    model = nano('glipv2-nano-mask')
    found = model.segment(scenes[0], PROMPT, threshold=0.0, max_boxes=5)
    assert found.masks.shape == (5, *found.image.shape[:2]) and found.masks.dtype == bool and found.masks.any()
    plain = model.detect(scenes[0], PROMPT, threshold=0.0, max_boxes=5)
    assert plain.masks is None and same(plain, found)
    assert not model.segment(scenes[0], PROMPT, threshold=0.0, max_boxes=5, mask_threshold=0.999).masks.any()
    assert model.ground(scenes[0], 'a red circle', masks=True, threshold=0.0, max_boxes=2).masks.shape[0] == 2
    assert model.segment(scenes[0], PROMPT, threshold=0.99).masks.shape == (0, *found.image.shape[:2])


SENTENCE = 'A red circle is above the blue square'


@pytest.mark.parametrize(
    'phrases, expected',
    [
        (None, ['A red circle', 'the blue square']),
        (['red circle', 'Square'], ['red circle', 'square']),
        ([[[2, 5]], [[26, 30], [31, 37]]], ['red', 'blue / square']),
        (-1, [SENTENCE]),
    ],
)
def test_phrases_of_a_sentence_are_found_by_words_or_places(nano, scenes, phrases, expected):
    found = nano('glipv2-nano').ground(scenes[0], SENTENCE, phrases=phrases, **LOW)
    assert isinstance(found, Grounding) and found.prompt.startswith(SENTENCE)
    assert [phrase.name for phrase in found.phrases] == expected
    assert [' / '.join(found.prompt[slice(*span)] for span in phrase.spans) for phrase in found.phrases] == expected
    assert len(found) == 20


def test_a_word_that_occurs_twice_is_found_twice(nano, scenes):
    found = nano('glipv2-nano').ground(scenes[0], 'a cat on a cat', phrases=['a cat', 'a cat'])
    assert [phrase.spans for phrase in found.phrases] == [((0, 5),), ((9, 14),)]


def test_each_image_may_have_its_own_sentence(nano, scenes):
    model = nano('glipv2-nano')
    sentences = ['a red circle', 'the blue square']
    for given in (scenes[:2], scenes[0]):
        found = model.ground(given, sentences, phrases=[['red circle'], ['square']])
        assert [result.phrases[0].name for result in found] == ['red circle', 'square']
    with pytest.raises(ImageInputError, match='3 images were given with 2 texts'):
        model.ground(scenes, sentences)
    with pytest.raises(PromptError, match='phrases has 1 entries for 2 sentences'):
        model.ground(scenes[:2], sentences, phrases=[['red circle']])


def test_questions_are_answered(nano, scenes):
    model = nano('glipv2-nano-vqa')
    answer = model.ask(scenes[0], 'how many red things are there?', num_answers=3)
    assert len(answer.answers) == len(answer.scores) == 3 and answer.detections is None
    assert answer.answers[0] in model.model.vqa_head.answers and list(answer.scores) == sorted(answer.scores)[::-1]
    both = model.ask(scenes[0], ['is there a star?', 'how many red things are there?'], batch_size=2)
    assert [result.question for result in both] == ['is there a star?', 'how many red things are there?']
    assert len(both[0].answers) == 5


def test_grounded_questions_have_boxes(nano, scenes):
    model = nano('glipv2-nano-grounded-vqa')
    answer = model.ask(scenes[0], 'what is left of the star?', **LOW)
    assert [phrase.name for phrase in answer.detections.phrases] == ['the star', 'answer']
    assert len(answer.detections) == 20
    # a class list and a sentence are no questions
    assert model.detect(scenes[0], PROMPT, **LOW).names[0] in ('red circle', 'blue square')
    assert [phrase.name for phrase in model.ground(scenes[0], SENTENCE).phrases] == ['A red circle', 'the blue square']


def test_captions_are_written_and_grounded(nano, scenes):
    caption = nano('glipv2-nano-caption').caption(scenes[0], max_words=4, beam_size=1)
    assert caption.text and caption.score < 0 and caption.detections is None
    grounded = nano('glipv2-nano-grounded-caption').caption(scenes[:2], max_words=4, batch_size=2, **LOW)
    assert len(grounded) == 2
    for result in grounded:
        if result.detections is not None:
            assert result.detections.prompt == result.text
    found = nano('glipv2-nano-grounded-caption').ground(scenes[0], 'a star', **LOW)
    assert len(found) == 20


@pytest.mark.parametrize(
    'name, call, needed',
    [
        ('glipv2-nano', lambda model, image: model.segment(image, PROMPT), 'mask_head.*glipv2_nano_shapes_masks.py'),
        ('glipv2-nano', lambda model, image: model.ground(image, 'a cat', masks=True), 'mask_head'),
        ('glipv2-nano', lambda model, image: model.ask(image, 'a cat?'), 'vqa_head.*glipv2_t_vqa.py'),
        ('glipv2-nano', lambda model, image: model.caption(image), 'caption_head.*glipv2_t_caption.py'),
        ('glipv2-nano-vqa', lambda model, image: model.detect(image, PROMPT), 'glipv2-nano-grounded-vqa'),
    ],
)
def test_a_missing_head_names_a_config_that_has_it(nano, scenes, name, call, needed):
    with pytest.raises(MissingHeadError, match=needed):
        call(nano(name), scenes[0])


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(threshold=1.0), 'threshold is 1.0'),
        (dict(max_boxes=0), 'max_boxes is 0'),
        (dict(batch_size=0), 'batch_size is 0'),
        (dict(nms_iou=0.0), 'nms_iou is 0.0'),
        (dict(frame_step=1.5), 'frame_step is 1.5'),
        (dict(threshold='0.5'), 'threshold is .0.5. .str.'),
    ],
)
def test_settings_out_of_range_are_refused(nano, scenes, settings, message):
    with pytest.raises(ValueError, match=message):
        nano('glipv2-nano').detect(scenes[0], PROMPT, **settings)


def test_prompts_are_checked_before_images_are_read(nano):
    model = nano('glipv2-nano')
    with pytest.raises(PromptError, match='no letter or digit'):
        model.detect('nowhere.jpg', ' . ')
    with pytest.raises(PromptError, match='There is no prompt'):
        model.detect('nowhere.jpg')
    with pytest.raises(PromptError, match='"zebra" is not in the sentence'):
        model.ground('nowhere.jpg', 'a horse', phrases=['zebra'])
    with pytest.raises(PromptError, match='Expected a list of words of the sentence'):
        model.ground('nowhere.jpg', 'a horse', phrases='horse')


def test_a_tuned_prompt_brings_its_classes(scenes, tmp_path, nano_files):
    config, weights = nano_files('glipv2-nano')
    base = GLIPv2Inferencer(config, weights, 'cpu')
    encoder = base.model.language_model
    tuning = PromptTuning(encoder.tokenizer, encoder.channels, ['red circle', 'blue square'])
    torch.nn.init.normal_(tuning.residuals[0])
    file = tmp_path / 'prompt.safetensors'
    tuned: TunedPrompt = tuning.tuned(base_fingerprint(base.model), 'base')
    tuned.save(file)
    model = GLIPv2Inferencer(config, weights, 'cpu', tuned_prompt=file)
    found = model.detect(scenes[0], **LOW)
    assert [phrase.name for phrase in found.phrases] == ['red circle', 'blue square'] and len(found) == 20
    assert not same(found, base.detect(scenes[0], PROMPT, **LOW))
    model.save_pretrained(tmp_path / 'folder')
    assert same(GLIPv2Inferencer(tmp_path / 'folder', device='cpu').detect(scenes[0], **LOW), found)


def test_random_weights_are_announced_in_one_line(scenes):
    said, logger = [], MMLogger.get_current_instance()
    handler = logging.Handler(logging.INFO)
    handler.emit = said.append
    logger.addHandler(handler)
    try:
        model = GLIPv2Inferencer(nano_config('glipv2-nano'), device='cpu')
    finally:
        logger.removeHandler(handler)
    assert len(said) == 1 and said[0].levelno == logging.WARNING and 'RANDOM' in said[0].getMessage()
    assert len(model.detect(scenes[0], PROMPT)) == 0


def test_weights_of_another_model_are_an_error_that_lists_what_is_missing(nano_files, tmp_path):
    config, weights = nano_files('glipv2-nano')
    masks, _ = nano_files('glipv2-nano-mask')
    with pytest.raises(CheckpointError, match=r'lacks: "mask_head'):
        GLIPv2Inferencer(masks, weights, 'cpu')
    with pytest.raises(FileNotFoundError, match='There is no checkpoint'):
        GLIPv2Inferencer(config, tmp_path / 'no.pth', 'cpu')
    with pytest.raises(FileNotFoundError, match='There is no checkpoint'):
        GLIPv2Inferencer(config, tmp_path / 'no.safetensors', 'cpu')
    (tmp_path / 'cut.safetensors').write_bytes(b'cut')
    with pytest.raises(CheckpointError, match='cannot be read as safetensors'):
        GLIPv2Inferencer(config, tmp_path / 'cut.safetensors', 'cpu')
    with pytest.raises(ValueError, match='a file of weights'):
        GLIPv2Inferencer(weights)


def test_parts_of_pre_training_are_left_out(nano_files, tmp_path, scenes, nano):
    config, weights = nano_files('glipv2-nano')
    content = torch.load(weights, weights_only=True)
    content['state_dict'] |= {'mlm_head.layer.weight': torch.zeros(3), 'inter_loss.log_scale': torch.zeros(1)}
    torch.save(content, tmp_path / 'pretrained.pth')
    found = GLIPv2Inferencer(config, tmp_path / 'pretrained.pth', 'cpu').detect(scenes[0], PROMPT, **LOW)
    assert same(found, nano('glipv2-nano').detect(scenes[0], PROMPT, **LOW))


def test_unknown_names_are_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r'no model "glipv3".*glipv2-t, .*save_pretrained'):
        GLIPv2Inferencer('glipv3')
    with pytest.raises(FileNotFoundError, match='There is no config'):
        GLIPv2Inferencer('nowhere.py')
    (tmp_path / 'other.py').write_text("model = dict(type='FasterRCNN')")
    with pytest.raises(ValueError, match='no config of a GLIPv2 model'):
        GLIPv2Inferencer(tmp_path / 'other.py')
    (tmp_path / 'model.py').write_text("model = dict(type='GLIPv2')")
    with pytest.raises(ValueError, match='no test_dataloader'):
        GLIPv2Inferencer(tmp_path / 'model.py')


@pytest.mark.parametrize('shape', [(1, 5000, 3), (5000, 1, 3)])
def test_an_image_whose_side_would_vanish_is_refused(nano, shape):
    with pytest.raises(ImageInputError, match='less than a pixel on its shorter side'):
        nano('glipv2-nano').detect(np.zeros(shape, dtype=np.uint8), PROMPT)


@pytest.mark.parametrize(
    'ask, given', [('ground', 5), ('ground', [5]), ('ground', b'a cat'), ('ask', None), ('ask', {'a': 1})]
)
def test_something_else_than_a_text_is_named(nano, scenes, ask, given):
    model = nano('glipv2-nano-vqa' if ask == 'ask' else 'glipv2-nano')
    with pytest.raises(PromptError, match='Expected a'):
        getattr(model, ask)(scenes[0], given)


@pytest.mark.parametrize('phrases', ['cat', 5, {'cat': 1}, ['cat', 3]])
def test_phrases_that_are_none_are_named(nano, scenes, phrases):
    with pytest.raises(PromptError, match='phrases is'):
        nano('glipv2-nano').ground(scenes[0], 'a cat', phrases=phrases)


def test_without_a_threshold_it_is_that_of_the_config(nano, scenes):
    model = nano('glipv2-nano')
    assert model.default_threshold == 0.3
    everything = model.detect(scenes[0], PROMPT, threshold=0.0)
    middle = float(np.median(everything.scores))
    model.model.test_cfg.default_threshold = middle
    try:
        found = model.detect(scenes[0], PROMPT)
        assert 0 < len(found) < len(everything) and found.scores.min() > middle
        assert same(found, model.detect(scenes[0], PROMPT, threshold=middle))
    finally:
        del model.model.test_cfg.default_threshold
