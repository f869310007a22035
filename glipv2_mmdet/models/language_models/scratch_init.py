"""Start values for a BERT that nobody has pre-trained, so that a run of minutes learns words at all.

Two things that every pre-trained BERT brings along take longer to grow than such a run lasts: words that are told
apart, and heads that look at the neighbouring word. Without the second, the "red" of "red circle" is the same vector
as the "red" of "red square", and one of them is a wrong answer wherever the other is right.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import BertModel

#: Which neighbour each of the first heads looks at, in tokens.
NEIGHBOURS = (1, -1, 2, -2)
#: Spread of the word vectors; BERT's own 0.02 is as small as the numbers that code the position.
WORD_STD = 0.2
#: Strength of the position code against the words.
POSITION_STRENGTH = 0.5
#: Attention score of the chosen neighbour before the softmax; all other words get about 0.
NEIGHBOUR_SCORE = 8.0


@torch.no_grad()
def init_from_scratch(model: BertModel) -> None:
    """Set word vectors, position code and the first layer's heads; everything else keeps BERT's start values.

    The last D channels (D the width of a head) code the position p as cos(w p), sin(w p) at D / 2 frequencies, the
    others code the word. A turn by w s takes the code of p to that of p + s, so a head whose query is the turned
    position and whose key is the plain one looks s words ahead.

    Args:
        model: without gradients having been taken; its heads have an even width.

    Raises:
        ValueError: when the width of a head is odd.
    """
    config = model.config
    head_width = config.hidden_size // config.num_attention_heads
    if head_width % 2:
        raise ValueError(
            f'Heads of the text encoder are {head_width} wide ({config.hidden_size} channels, '
            f'{config.num_attention_heads} heads); expected an even width. Change hidden_size or '
            'num_attention_heads.'
        )
    embeddings, attention = model.embeddings, model.encoder.layer[0].attention.self
    frequencies = _frequencies(head_width // 2)
    amplitude = WORD_STD * POSITION_STRENGTH * math.sqrt(2)

    embeddings.word_embeddings.weight.normal_(std=WORD_STD)
    embeddings.word_embeddings.weight[:, -head_width:] = 0
    embeddings.token_type_embeddings.weight.zero_()
    embeddings.position_embeddings.weight.zero_()
    embeddings.position_embeddings.weight[:, -head_width:] = amplitude * _position_code(
        embeddings.position_embeddings.num_embeddings, frequencies
    )

    # the embedding's LayerNorm scales the code; its entries then have this amplitude
    code_share = head_width / config.hidden_size
    rms = WORD_STD * math.sqrt(1 - code_share + POSITION_STRENGTH**2 * code_share)
    amplitude = amplitude / rms
    gain = math.sqrt(NEIGHBOUR_SCORE * math.sqrt(head_width) / (amplitude**2 * head_width / 2))
    for head, shift in enumerate(NEIGHBOURS[: config.num_attention_heads]):
        rows = slice(head * head_width, (head + 1) * head_width)
        for layer, code_map in ((attention.query, _turn(frequencies * shift)), (attention.key, torch.eye(head_width))):
            layer.weight[rows] = 0
            layer.weight[rows, -head_width:] = gain * code_map.to(layer.weight)


def _frequencies(count: int) -> Tensor:
    """(count,) spread evenly over 0 to pi without a common period, so that no two distances look alike."""
    golden_ratio = (math.sqrt(5) - 1) / 2
    return math.pi * ((torch.arange(count, dtype=torch.float64) + 1) * golden_ratio % 1)


def _position_code(num_positions: int, frequencies: Tensor) -> Tensor:
    """(num_positions, 2 * len(frequencies)) cosines, then sines."""
    angles = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=1).float()


def _turn(angles: Tensor) -> Tensor:
    """(2n, 2n) matrix that turns every (cosine, sine) pair of a code by its angle."""
    cos, sin = torch.diag(angles.cos()), torch.diag(angles.sin())
    return torch.cat((torch.cat((cos, -sin), dim=1), torch.cat((sin, cos), dim=1))).float()
