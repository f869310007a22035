"""What samples bring to a detector, checked: the prompt they ask, labels and masks they teach."""

from __future__ import annotations

from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from glipv2_mmdet.text import Prompt, PromptError, parse_prompt


def parsed_prompt(sample: DetDataSample) -> Prompt:
    """The classes or the caption in ``text``.

    Raises:
        PromptError: there is none, or it makes no prompt.
    """
    text = sample.get('text', None)
    if text is None:
        raise PromptError(
            'GLIPv2 finds what a prompt names, and this image came without one. Pass text_prompt="cat . dog" to '
            'inference_detector (with custom_entities=True), texts="cat . dog" to DetInferencer, or set '
            'return_classes=True on the data set and list "text" in the meta_keys of PackDetInputs.'
        )
    return parse_prompt(
        text,
        custom_entities=sample.get('custom_entities', False),
        overrides=sample.get('caption_prompt', None),
        tokens_positive=sample.get('tokens_positive', None),
    )


def checked_labels(prompt: Prompt, sample: DetDataSample) -> list[int]:
    """The phrase of each ground-truth box, on the host.

    Raises:
        PromptError: a label is no phrase of the prompt.
    """
    labels = sample.gt_instances.labels.tolist() if 'labels' in sample.gt_instances else []
    # a negative label would silently count from the end
    unknown = [label for label in labels if not 0 <= label < len(prompt.phrases)]
    if unknown:
        raise PromptError(
            f'Label {unknown[0]} of image "{sample.get("img_path", "?")}" is not in its prompt, which has '
            f'{len(prompt.phrases)} phrases ({", ".join(prompt.names[:5])}, ...). Put BuildPrompt into the training '
            'pipeline; it makes labels and prompt agree.'
        )
    return labels


def training_masks(sample: DetDataSample) -> BitmapMasks:
    """One mask per ground-truth box.

    Raises:
        ValueError: there are boxes and no masks.
    """
    boxes = sample.gt_instances
    if 'masks' in boxes:
        return boxes.masks
    if len(boxes) == 0:
        return BitmapMasks([], *sample.img_shape[:2])
    raise ValueError(
        f'Image "{sample.get("img_path", "?")}" has {len(boxes)} boxes and no masks; the mask head needs one per box. '
        'Put LoadMasks after LoadAnnotations in the training pipeline, or set mask_head=None.'
    )


def name_phrases(instances: InstanceData, prompt: Prompt) -> None:
    """Put the phrase of each detection where mmdet's visualizer looks for it."""
    names = prompt.names
    instances.label_names = [names[label] for label in instances.labels.tolist()]
