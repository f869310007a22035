"""Weights of encoders that others pre-trained, under our names: the starting point of pre-training.

Known are CLIP (OpenAI's names and Hugging Face's), UniCL (text and Swin), BERT of Hugging Face and Swin as its authors
published it. Depths and widths come from the names, so every size passes through the same tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from glipv2_mmdet.checkpoints.glip_names import CheckpointError, original_swin_rules
from glipv2_mmdet.checkpoints.name_rules import Rule, first_match, name_listing

_TEXT = 'language_model.model'
_POSITIONS = f'{_TEXT}.embeddings.position_embedding.weight'
_LAYER = f'{_TEXT}.encoder.layers.{{i}}'


def _clip_rules(root: str, blocks: str) -> tuple[Rule, ...]:
    """OpenAI's names, the fused projection of the attention already split; UniCL keeps them under other roots."""
    return (
        Rule(f'{root}token_embedding.weight', f'{_TEXT}.embeddings.token_embedding.weight'),
        Rule(f'{root}positional_embedding', _POSITIONS),
        *(
            Rule(f'{blocks}.{{i}}.{theirs}.{{p}}', f'{_LAYER}.{ours}.{{p}}')
            for theirs, ours in (
                ('attn.query', 'self_attn.q_proj'),
                ('attn.key', 'self_attn.k_proj'),
                ('attn.value', 'self_attn.v_proj'),
                ('attn.out_proj', 'self_attn.out_proj'),
                ('ln_1', 'layer_norm1'),
                ('ln_2', 'layer_norm2'),
                ('mlp.c_fc', 'mlp.fc1'),
                ('mlp.c_proj', 'mlp.fc2'),
            )
        ),
        Rule(f'{root}ln_final.{{p}}', f'{_TEXT}.final_layer_norm.{{p}}'),
    )


#: Source -> its name table.
TABLES = {
    'OpenAI CLIP': _clip_rules('', 'transformer.resblocks'),
    'Hugging Face CLIP': (
        Rule('text_model.embeddings.{rest}', f'{_TEXT}.embeddings.{{rest}}'),
        Rule('text_model.encoder.layers.{i}.{rest}', f'{_LAYER}.{{rest}}'),
        Rule('text_model.final_layer_norm.{p}', f'{_TEXT}.final_layer_norm.{{p}}'),
    ),
    'UniCL': (*_clip_rules('text_encoder.', 'text_encoder.resblocks'), *original_swin_rules('image_encoder.')),
    'Hugging Face BERT': (
        Rule('embeddings.{rest}', f'{_TEXT}.embeddings.{{rest}}'),
        Rule('encoder.layer.{i}.{rest}', f'{_TEXT}.encoder.layer.{{i}}.{{rest}}'),
    ),
    'Swin': original_swin_rules(''),
}

_PROJECTION = 'maps into the space of whole images and whole sentences, which the method does not use'
_HEAD = 'head of the pre-training task'
_NORM = 'norm in front of a classifier; returned levels have norms of their own'
#: Source -> beginnings of names whose tensors are left behind, and why.
EXCUSED = {
    'OpenAI CLIP': {
        'visual.': "CLIP's image encoder is no Swin",
        'text_projection': _PROJECTION,
        'logit_scale': _PROJECTION,
        'input_resolution': 'a setting',
        'context_length': 'a setting',
        'vocab_size': 'a setting',
    },
    'Hugging Face CLIP': {
        'vision_model.': "CLIP's image encoder is no Swin",
        'text_projection.': _PROJECTION,
        'visual_projection.': _PROJECTION,
        'logit_scale': _PROJECTION,
        'text_model.embeddings.position_ids': 'computed from the text length',
    },
    'UniCL': {
        'image_projection': _PROJECTION,
        'text_projection': _PROJECTION,
        'logit_scale': _PROJECTION,
        'image_encoder.norm.': _NORM,
        'image_encoder.head.': _HEAD,
    },
    'Hugging Face BERT': {
        'cls.': _HEAD,
        'pooler.': 'sentence feature the method does not use',
        'embeddings.position_ids': 'computed from the text length',
    },
    'Swin': {'norm.': _NORM, 'head.': _HEAD},
}
_COMPUTED = ('relative_position_index', 'attn_mask')

#: Other beginnings the same weights are published with.
_SYNONYMS = {
    'UniCL': {
        'visual.': 'image_encoder.',
        'text.': 'text_encoder.',
        'lang_encoder.': 'text_encoder.',
        'vision_projection': 'image_projection',
    },
    'Hugging Face BERT': {'bert.': ''},
}


@dataclass(frozen=True)
class EncoderConversion:
    """Converted weights of encoders, and what became of the rest.

    Attributes:
        state_dict: under our names, in single precision.
        source: a key of ``TABLES``.
        excused: names left behind on purpose, with the reason.
        num_positions: rows of the text encoder's position table before and after; None without such a table.
    """

    state_dict: dict[str, Tensor]
    source: str
    excused: dict[str, str] = field(default_factory=dict)
    num_positions: tuple[int, int] | None = None


def detect_encoder(names: Iterable[str]) -> str | None:
    """The source of weights with these names, a key of ``TABLES``; None when it is none of them."""
    names = set(names)

    def begins(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    if begins('text_model.encoder.layers.'):
        return 'Hugging Face CLIP'
    if begins('text_encoder.resblocks.', 'lang_encoder.resblocks.', 'text.resblocks.'):
        return 'UniCL'
    if begins('transformer.resblocks.') and 'positional_embedding' in names:
        return 'OpenAI CLIP'
    if begins('bert.embeddings.word_embeddings.', 'embeddings.word_embeddings.'):
        return 'Hugging Face BERT'
    return 'Swin' if begins('patch_embed.proj.') and begins('layers.0.blocks.') else None


def encoder_to_ours(state_dict: Mapping[str, Tensor], max_tokens: int = 256) -> EncoderConversion:
    """Weights of a text encoder, an image encoder or both under our names.

    Args:
        state_dict: name to tensor; see :func:`~glipv2_mmdet.checkpoints.load.state_dict_of` for files.
        max_tokens: length of CLIP's position table afterwards, see :func:`fit_positions`; BERT's stays as it is.

    Raises:
        CheckpointError: a source that is not known, or tensors are left over that no rule and no excuse covers.
    """
    bare = {name.removeprefix('module.'): tensor for name, tensor in state_dict.items()}
    source = detect_encoder(bare)
    if source is None:
        raise CheckpointError(
            f'None of the encoders that are known: the file has {len(bare)} tensors such as {name_listing(bare)}. '
            f'Expected the weights of {", ".join(TABLES)}. GLIP files go through glip_to_glipv2.py.'
        )
    converted, excused, leftover = {}, {}, []
    for name, tensor in _split_projections(_common_names(bare, source)).items():
        reason = _excuse(name, source)
        ours, _ = (None, None) if reason else first_match(TABLES[source], Rule.name_for_us, name)
        if reason:
            excused[name] = reason
        elif ours is None:
            leftover.append(name)
        else:
            converted[ours] = tensor.float()
    if leftover:
        raise CheckpointError(
            f'{len(leftover)} tensor(s) of these {source} weights have no place in our encoders: '
            f'{name_listing(leftover, 10)}. They may come from a changed model; remove them from the file if they are '
            'not needed, or add a rule in glipv2_mmdet/checkpoints/text_encoder_names.py.'
        )
    num_positions = None
    if _POSITIONS in converted:
        table = converted[_POSITIONS]
        converted[_POSITIONS] = fit_positions(table, max_tokens)
        num_positions = len(table), max_tokens
    return EncoderConversion(converted, source, excused, num_positions)


def fit_positions(table: Tensor, length: int) -> Tensor:
    """A position table (P, C) for prompts of up to ``length`` tokens.

    A shorter table is stretched by linear interpolation between the centres of its rows, as the public GLIP code
    stretches CLIP's 77 rows to 256: row r of the result lies at (r + 0.5) * P / length - 0.5 of the table, held at its
    ends. A longer one is cut.
    """
    if len(table) >= length:
        return table[:length].clone()
    return F.interpolate(table.t()[None].float(), size=length, mode='linear', align_corners=False)[0].t().contiguous()


def _common_names(state_dict: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """One spelling for the sources that were published in several."""
    result = {}
    for name, tensor in state_dict.items():
        start = next((start for start in _SYNONYMS.get(source, ()) if name.startswith(start)), None)
        if start is not None:
            name = _SYNONYMS[source][start] + name.removeprefix(start)
        if source == 'Hugging Face BERT':  # the oldest files call the parameters of a LayerNorm after TensorFlow
            name = name.replace('LayerNorm.gamma', 'LayerNorm.weight').replace('LayerNorm.beta', 'LayerNorm.bias')
        result[name] = tensor
    return result


def _split_projections(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torch's attention keeps query, key and value below one another in one tensor; ours are three layers."""
    result = {}
    for name, tensor in state_dict.items():
        stem, _, kind = name.rpartition('.in_proj_')
        if stem and kind in ('weight', 'bias') and not name.startswith('visual.'):
            for part, share in zip(('query', 'key', 'value'), tensor.chunk(3), strict=True):
                result[f'{stem}.{part}.{kind}'] = share.clone()
        else:
            result[name] = tensor
    return result


def _excuse(name: str, source: str) -> str | None:
    if name.split('.')[-1] in _COMPUTED:
        return 'computed from sizes'
    return next((reason for start, reason in EXCUSED[source].items() if name.startswith(start)), None)
