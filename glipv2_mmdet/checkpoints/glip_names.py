"""GLIP weights under foreign names to our names, and back.

Two sources are known: the GLIP of mmdet and the original GLIP code. Each is one table of name templates,
read in both directions, with a tensor operation where the layout differs too. Depth, width and number of
fusion blocks come from the names themselves, so Swin-T, Swin-L and any test-sized twin pass through the same
tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from glipv2_mmdet.checkpoints.name_rules import Rule, TensorOp, first_match, name_listing


class CheckpointError(ValueError):
    """A checkpoint does not hold what was asked for; the message names tensors and what to do."""


def merge_from_unfold(x: Tensor) -> Tensor:
    """Last axis (..., 4C) of a patch merging, from mmdet's order to that of timm and the original Swin.

    mmdet gathers the 2 x 2 patches by ``nn.Unfold``: channel outermost, then row, then column of the patch.
    timm and the original lay out column, row, channel.
    """
    patches = x.unflatten(-1, (x.shape[-1] // 4, 2, 2))  # (..., C, row, column)
    return patches.transpose(-1, -3).flatten(-3).contiguous()


def merge_to_unfold(x: Tensor) -> Tensor:
    """The inverse of :func:`merge_from_unfold`."""
    patches = x.unflatten(-1, (2, 2, x.shape[-1] // 4))  # (..., column, row, C)
    return patches.transpose(-1, -3).flatten(-3).contiguous()


PATCH_MERGING = TensorOp(merge_from_unfold, merge_to_unfold)
# level scales are 0-d with us and in mmdet, (1,) in the original and in mmdet's published conversions of it
TO_SCALAR = TensorOp(lambda x: x.reshape(()), lambda x: x)
SCALAR_AND_BACK = TensorOp(lambda x: x.reshape(()), lambda x: x.reshape(1))

# ---- the tables: (source, ours), in the order of the data flow -------------------------------------------

_SWIN_MMDET = (
    Rule('backbone.patch_embed.projection.{p}', 'backbone.model.patch_embed.proj.{p}'),
    Rule('backbone.patch_embed.norm.{p}', 'backbone.model.patch_embed.norm.{p}'),
    *(
        Rule(f'backbone.stages.{{i}}.blocks.{{j}}.{theirs}', f'backbone.model.layers.{{i}}.blocks.{{j}}.{ours}')
        for theirs, ours in (
            ('norm1.{p}', 'norm1.{p}'),
            ('attn.w_msa.relative_position_bias_table', 'attn.relative_position_bias_table'),
            ('attn.w_msa.qkv.{p}', 'attn.qkv.{p}'),
            ('attn.w_msa.proj.{p}', 'attn.proj.{p}'),
            ('norm2.{p}', 'norm2.{p}'),
            ('ffn.layers.0.0.{p}', 'mlp.fc1.{p}'),
            ('ffn.layers.1.{p}', 'mlp.fc2.{p}'),
        )
    ),
    # a merging ends a stage there and begins the next one in timm
    Rule(
        'backbone.stages.{i}.downsample.norm.{p}',
        'backbone.model.layers.{i}.downsample.norm.{p}',
        PATCH_MERGING,
        shift=-1,
    ),
    Rule(
        'backbone.stages.{i}.downsample.reduction.weight',
        'backbone.model.layers.{i}.downsample.reduction.weight',
        PATCH_MERGING,
        shift=-1,
    ),
)


def original_swin_rules(root: str) -> tuple[Rule, ...]:
    """Names of the original Swin code under ``root`` (with its dot, or nothing), which GLIP and UniCL keep."""
    return (
        *(
            Rule(f'{root}patch_embed.{part}.{{p}}', f'backbone.model.patch_embed.{part}.{{p}}')
            for part in ('proj', 'norm')
        ),
        *(
            Rule(f'{root}layers.{{i}}.blocks.{{j}}.{part}', f'backbone.model.layers.{{i}}.blocks.{{j}}.{part}')
            for part in (
                'norm1.{p}',
                'attn.relative_position_bias_table',
                'attn.qkv.{p}',
                'attn.proj.{p}',
                'norm2.{p}',
                'mlp.fc1.{p}',
                'mlp.fc2.{p}',
            )
        ),
        # a merging ends a stage there and begins the next one in timm
        Rule(f'{root}layers.{{i}}.downsample.norm.{{p}}', 'backbone.model.layers.{i}.downsample.norm.{p}', shift=-1),
        Rule(
            f'{root}layers.{{i}}.downsample.reduction.weight',
            'backbone.model.layers.{i}.downsample.reduction.weight',
            shift=-1,
        ),
    )


_LANGUAGE = ('embeddings.{rest}', 'encoder.layer.{i}.{rest}')

_BI_ATTENTION = (
    ('b_attn.gamma_v', 'gamma_image'),
    ('b_attn.gamma_l', 'gamma_text'),
    ('b_attn.layer_norm_v.{p}', 'image_norm.{p}'),
    ('b_attn.layer_norm_l.{p}', 'text_norm.{p}'),
    ('b_attn.attn.v_proj.{p}', 'image_query.{p}'),
    ('b_attn.attn.l_proj.{p}', 'text_key.{p}'),
    ('b_attn.attn.values_v_proj.{p}', 'image_value.{p}'),
    ('b_attn.attn.values_l_proj.{p}', 'text_value.{p}'),
    ('b_attn.attn.out_v_proj.{p}', 'image_out.{p}'),
    ('b_attn.attn.out_l_proj.{p}', 'text_out.{p}'),
)

_TEXT_LAYER = (
    ('attention.self.query.{p}', 'query.{p}'),
    ('attention.self.key.{p}', 'key.{p}'),
    ('attention.self.value.{p}', 'value.{p}'),
    ('attention.output.dense.{p}', 'attention_out.{p}'),
    ('attention.output.LayerNorm.{p}', 'attention_norm.{p}'),
    ('intermediate.dense.{p}', 'ffn_in.{p}'),
    ('output.dense.{p}', 'ffn_out.{p}'),
    ('output.LayerNorm.{p}', 'ffn_norm.{p}'),
)

_DYNAMIC_CONV = (
    ('offset.{p}', 'offset.{p}'),
    *(
        (f'dyconvs.{n}.{theirs}.{{p}}', f'{ours}.{part}.{{p}}')
        for n, ours in enumerate(('coarser', 'same', 'finer'))
        for theirs, part in (('conv', 'conv'), ('bn', 'norm'))
    ),
    ('attnconv.1.{p}', 'scale_attention.{p}'),
    ('relu.fc.0.{p}', 'activation.reduce.{p}'),
    ('relu.fc.2.{p}', 'activation.expand.{p}'),
)

_HEAD = (
    ('bbox_pred.{p}', 'box.{p}'),
    ('centerness.{p}', 'centerness.{p}'),
    ('dot_product_projection_text.{p}', 'text_projection.{p}'),
    ('bias_lang', 'bias_lang'),
    ('bias0', 'bias0'),
    ('log_scale', 'log_scale'),
)

#: Parts of a name whose tensors are left behind, and why.
EXCUSED = {
    'relative_position_index': 'computed from the window size',
    'attn_mask': 'computed from the image size',
    'position_ids': 'computed from the text length',
    'anchor_generator': 'computed from the anchor settings',
    'cls_logits': 'classifier the method does not use',
    'pooler': 'sentence feature the method does not use',
    'resizer': 'text resizer the method does not use',
}


@dataclass(frozen=True)
class Layout:
    """What has to be known of a source to read its names.

    Attributes:
        source: ``'mmdet'`` or ``'original'``.
        early_fusion: whether the tower holds attention and text layers (three entries per block, not one).
        out_indices: backbone stages that feed the pyramid.
        prefix: in front of every name, ``'module.'`` or nothing.
    """

    source: str
    early_fusion: bool
    out_indices: tuple[int, ...]
    prefix: str = ''

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The name table of this layout."""
        is_mmdet = self.source == 'mmdet'
        backbone = 'backbone' if is_mmdet else 'backbone.body'
        swin = _SWIN_MMDET if is_mmdet else original_swin_rules('backbone.body.')
        language = 'language_model.language_backbone' if is_mmdet else 'language_backbone'
        head = 'bbox_head.head' if is_mmdet else 'rpn.head'
        return (
            *swin,
            *(
                Rule(f'{backbone}.norm{stage}.{{p}}', f'backbone.norms.{k}.{{p}}')
                for k, stage in enumerate(self.out_indices)
            ),
            *self._pyramid(is_mmdet),
            *(Rule(f'{language}.body.model.{part}', f'language_model.model.{part}') for part in _LANGUAGE),
            *self._tower(f'{head}.dyhead_tower', is_mmdet),
            *(Rule(f'{head}.{theirs}', f'bbox_head.{ours}') for theirs, ours in _HEAD),
            Rule(
                f'{head}.scales.{{i}}.scale', 'bbox_head.scales.{i}.scale', TO_SCALAR if is_mmdet else SCALAR_AND_BACK
            ),
        )

    def _pyramid(self, is_mmdet: bool) -> list[Rule]:
        if is_mmdet:
            names = [f'neck.{part}.{{i}}.conv.{{p}}' for part in ('lateral_convs', 'fpn_convs')]
            return [Rule(name, name) for name in names]
        rules = []
        for k, stage in enumerate(self.out_indices):
            # the original counts stages from 1
            for theirs, ours in (('inner', 'lateral_convs'), ('layer', 'fpn_convs')):
                name = f'backbone.fpn.fpn_{theirs}{stage + 1}.{{p}}'
                rules.append(Rule(name, f'neck.{ours}.{k}.conv.{{p}}'))
        for extra, name in enumerate(('p6', 'p7'), start=len(self.out_indices)):
            rules.append(Rule(f'backbone.fpn.top_blocks.{name}.{{p}}', f'neck.fpn_convs.{extra}.conv.{{p}}'))
        return rules

    def _tower(self, root: str, is_mmdet: bool) -> list[Rule]:
        parts = (('attention', _BI_ATTENTION), ('text_layer', _TEXT_LAYER), ('dynamic_conv', _DYNAMIC_CONV))
        if not self.early_fusion:
            parts = parts[-1:]
        rules = []
        for shift, (part, names) in enumerate(parts):
            for theirs, ours in names:
                if not is_mmdet:
                    theirs = theirs.replace('dyconvs', 'DyConv').replace('attnconv', 'AttnConv')
                rules.append(
                    Rule(f'{root}.{{i}}.{theirs}', f'fusion.blocks.{{i}}.{part}.{ours}', step=len(parts), shift=shift)
                )
        return rules


@dataclass(frozen=True)
class Conversion:
    """Converted weights, and what became of the rest.

    Attributes:
        state_dict: under our names.
        layout: of the source.
        excused: names left behind on purpose, with the reason.
    """

    state_dict: dict[str, Tensor]
    layout: Layout
    excused: dict[str, str] = field(default_factory=dict)


def detect_layout(names: Iterable[str]) -> Layout | None:
    """Where weights with these names come from; None when they are neither of the two sources."""
    names = list(names)
    prefix = 'module.' if names and all(name.startswith('module.') for name in names) else ''
    bare = [name.removeprefix(prefix) for name in names]
    if any(name.startswith('bbox_head.head.dyhead_tower.') for name in bare):
        source, norm = 'mmdet', re.compile(r'backbone\.norm(\d+)\.weight')
    elif any(name.startswith('rpn.head.dyhead_tower.') for name in bare):
        source, norm = 'original', re.compile(r'backbone\.body\.norm(\d+)\.weight')
    else:
        return None
    stages = sorted(int(found[1]) for found in map(norm.fullmatch, bare) if found)
    return Layout(
        source, early_fusion=any('.b_attn.' in name for name in bare), out_indices=tuple(stages), prefix=prefix
    )


def to_ours(state_dict: Mapping[str, Tensor], layout: Layout | None = None) -> Conversion:
    """GLIP weights of mmdet or of the original code under our names.

    Args:
        state_dict: name to tensor; see :func:`~glipv2_mmdet.checkpoints.load.state_dict_of` for files.
        layout: of the source; found from the names by default.

    Raises:
        CheckpointError: not a GLIP checkpoint, or tensors are left over that no rule and no excuse covers.
    """
    layout = layout or detect_layout(state_dict)
    if layout is None:
        raise CheckpointError(
            f'Not a GLIP checkpoint: none of its {len(state_dict)} tensors ({name_listing(state_dict)}) belongs to '
            'the fusion tower of mmdet ("bbox_head.head.dyhead_tower...") or of the original code '
            '("rpn.head.dyhead_tower..."). Give a GLIP file; one that is converted already is used as it is.'
        )
    converted, excused, leftover = {}, {}, []
    for name, tensor in state_dict.items():
        bare = name.removeprefix(layout.prefix)
        reason = _excuse(bare)
        if reason is not None:
            excused[name] = reason
            continue
        ours, rule = first_match(layout.rules, Rule.name_for_us, bare)
        if ours is None:
            leftover.append(name)
        else:
            converted[ours] = _apply(rule.tensor.forward, tensor, name) if rule.tensor else tensor
    if leftover:
        raise CheckpointError(
            f'{len(leftover)} tensor(s) of this {layout.source} GLIP checkpoint have no place in our model: '
            f'{name_listing(leftover, 10)}. It may come from a changed model; remove them from the file if they '
            'are not needed, or add a rule in glipv2_mmdet/checkpoints/glip_names.py.'
        )
    return Conversion(converted, layout, excused)


def to_source(state_dict: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Weights (or gradients) under our names, back under the names and in the layout of ``layout``.

    Raises:
        CheckpointError: a name has no counterpart there.
    """
    result, leftover = {}, []
    for name, tensor in state_dict.items():
        theirs, rule = first_match(layout.rules, Rule.name_for_source, name)
        if theirs is None:
            leftover.append(name)
        else:
            tensor = _apply(rule.tensor.backward, tensor, name) if rule.tensor else tensor
            result[layout.prefix + theirs] = tensor
    if leftover:
        raise CheckpointError(
            f'{len(leftover)} tensor(s) have no counterpart in the {layout.source} GLIP: '
            f'{name_listing(leftover, 10)}. Leave out the parts that GLIP does not have.'
        )
    return result


def _excuse(name: str) -> str | None:
    return next((EXCUSED[part] for part in name.split('.') if part in EXCUSED), None)


def _apply(operation: Callable[[Tensor], Tensor], tensor: Tensor, name: str) -> Tensor:
    try:
        return operation(tensor)
    except RuntimeError as error:
        raise CheckpointError(
            f'Tensor "{name}" has shape {tuple(tensor.shape)}, which does not fit its place in GLIP: a patch '
            'merging reads four times its width, a level scale is one number. The file belongs to another '
            'model.'
        ) from error
