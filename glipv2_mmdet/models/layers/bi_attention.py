"""Bi-directional image-word attention, with every image-side projection absorbed into the few words.

The textbook form (GLIP, section 3.2) projects each image token three times: to a query, to a value and back
to the image width. One score matrix serves both directions, so all three can move to the text side without
changing the function:

* score      (W_q v + b_q) . k  =  v . (W_q^T k)  +  b_q . k
* image <- text   W_out sum_t p_t (W_v l_t + b)  =  sum_t p_t (W_out W_v l_t + W_out b)
* text <- image   sum_v p_v (W_v v + b)  =  W_v (sum_v p_v v)  +  b sum_v p_v

The cost of an image token falls from 1.57 M + 6144 T to 6144 T multiply-adds at the published widths.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glipv2_mmdet.models.layers.number_range import masked_scores, within_half

#: Scores to hold at once; beyond that, heads go through in groups, which changes nothing but the memory they
#: wander through. On a CPU blocks of this size (16 MB) are recycled, larger ones are fetched page by page
#: every time.
SCORES_AT_ONCE = 2**22


class BiAttention(nn.Module):
    """One exchange between all image positions and all words, with layer-scaled residuals.

    Both inputs are normalised first, and the residual starts from the *normalised* features
    (``out = norm(x) + gamma * delta``): trained weights depend on it.

    Args:
        image_channels: width C of the image features.
        text_channels: width of the word features.
        embed_channels: width of the attention, shared by the heads.
        num_heads: heads.
        dropout: on both attention maps, in training.
        init_gamma: start value of the two layer scales; GLIP uses 1 / number of blocks.
        places: add a learnt linear map of its place to every normalised image position. Not in the paper.
    """

    def __init__(
        self,
        image_channels: int = 256,
        text_channels: int = 768,
        embed_channels: int = 2048,
        num_heads: int = 8,
        dropout: float = 0.1,
        init_gamma: float = 1 / 6,
        places: bool = False,
    ) -> None:
        super().__init__()
        if embed_channels % num_heads:
            raise ValueError(f'embed_channels {embed_channels} must be a multiple of num_heads {num_heads}.')
        self.num_heads = num_heads
        self.scale = (embed_channels // num_heads) ** -0.5
        self.dropout = dropout

        self.image_norm = nn.LayerNorm(image_channels)
        self.text_norm = nn.LayerNorm(text_channels)
        self.image_query = nn.Linear(image_channels, embed_channels)
        self.text_key = nn.Linear(text_channels, embed_channels)
        self.image_value = nn.Linear(image_channels, embed_channels)
        self.text_value = nn.Linear(text_channels, embed_channels)
        self.image_out = nn.Linear(embed_channels, image_channels)
        self.text_out = nn.Linear(embed_channels, text_channels)
        self.image_place = nn.Linear(2, image_channels, bias=False) if places else None
        self.gamma_image = nn.Parameter(torch.full((image_channels,), init_gamma))
        self.gamma_text = nn.Parameter(torch.full((text_channels,), init_gamma))
        self._init_weights()

    def _init_weights(self) -> None:
        for module in self.children():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.image_place is not None:
            nn.init.normal_(self.image_place.weight, std=0.5)  # beside normalised features of size 1

    def forward(
        self, image: Tensor, text: Tensor, text_mask: Tensor | None = None, places: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Exchange once.

        Args:
            image: (B, V, C) every position of every level. Zero-padded image area takes part, as in the
                public implementations.
            text: (B, T, C_text).
            text_mask: (B, T) bool, True on real tokens; None when all are real.
            places: (V, 2) of :func:`~glipv2_mmdet.models.layers.levels.level_places`; read where the layer has
                been built for them.

        Returns:
            Image (B, V, C) and text (B, T, C_text). Padded words get values that no real token reads.
        """
        image = self.prepare(image, places)
        text = self.text_norm(text)
        key = self._split_heads(self.text_key(text) * self.scale)  # (B, N, T, D)
        value = self._split_heads(self.text_value(text))  # (B, N, T, D)
        image_delta, read = self.image_out.bias, []
        for heads in self._head_groups(image, text):
            scores = self._scores(image, key[:, heads], heads)
            read.append(self._read_image(scores, image, heads))
            image_delta = image_delta + self._read_words(scores, value[:, heads], text_mask, heads)
        text_delta = self.text_out(torch.cat(read, dim=1).transpose(1, 2).flatten(2))
        image = torch.addcmul(image, self.gamma_image, image_delta)
        return image, torch.addcmul(text, self.gamma_text, text_delta)

    def prepare(self, image: Tensor, places: Tensor | None = None) -> Tensor:
        """What words see of the image positions, (B, V, C) to (B, V, C); arguments as in :meth:`forward`."""
        image = self.image_norm(image)
        return image if self.image_place is None else image + self.image_place(places.to(image.dtype))

    def read(self, image: Tensor, text: Tensor) -> Tensor:
        """Only text <- image, as :meth:`forward` does it; a word reads the image whatever the other words are.

        For captions: the image may not see the words that are still to be said, so it stays as it is,
        ``prepare(image)``, and is shared by all words and all hypotheses. And for the last look of words alone.

        Args:
            image: (B, V, C) from :meth:`prepare`.
            text: (B, T, C_text).

        Returns:
            (B, T, C_text).

        Source: GLIPv2 (Zhang et al., 2022), appendix, captioning.
        """
        text = self.text_norm(text)
        key = self._split_heads(self.text_key(text) * self.scale)  # (B, N, T, D)
        read = [
            self._read_image(self._scores(image, key[:, heads], heads), image, heads)
            for heads in self._head_groups(image, text)
        ]
        text_delta = self.text_out(torch.cat(read, dim=1).transpose(1, 2).flatten(2))
        return torch.addcmul(text, self.gamma_text, text_delta)

    def parts_for_image(self) -> list[nn.Parameter]:
        """The parameters that only image <- text uses, which :meth:`read` leaves out."""
        return [*self.text_value.parameters(), *self.image_out.parameters(), self.gamma_image]

    def _head_groups(self, image: Tensor, text: Tensor) -> list[slice]:
        """Slices of the heads, as many at once as ``SCORES_AT_ONCE`` allows, at least one."""
        scores_per_head = image.shape[0] * image.shape[1] * text.shape[1]
        at_once = max(SCORES_AT_ONCE // scores_per_head, 1)
        return [slice(first, first + at_once) for first in range(0, self.num_heads, at_once)]

    def _scores(self, image: Tensor, key: Tensor, heads: slice) -> Tensor:
        """(B, N, T, V) scaled dot products; N counts the heads of the slice, here and below."""
        query_weight = self._per_head(self.image_query.weight)[heads]  # (N, D, C)
        query_bias = self._per_head(self.image_query.bias)[heads].unsqueeze(-1)  # (N, D, 1)
        word_queries = torch.matmul(key, query_weight).flatten(1, 2)  # (B, N * T, C)
        word_bias = torch.matmul(key, query_bias).flatten(1, 2)  # (B, N * T, 1)
        scores = torch.baddbmm(word_bias, word_queries, image.transpose(1, 2))
        return within_half(scores).unflatten(1, (key.shape[1], -1))

    def _read_image(self, scores: Tensor, image: Tensor, heads: slice) -> Tensor:
        """What each word takes from the image positions, per head: (B, N, T, D)."""
        weights = F.dropout(scores.softmax(dim=-1), self.dropout, self.training)
        read = torch.matmul(weights.flatten(1, 2), image).unflatten(1, (weights.shape[1], -1))  # (B, N, T, C)
        value_weight = self._per_head(self.image_value.weight)[heads]  # (N, D, C)
        value_bias = self._per_head(self.image_value.bias)[heads].unsqueeze(1)  # (N, 1, D)
        if self.training and self.dropout > 0:
            # with dropped entries the weights of a word no longer add up to one
            value_bias = value_bias * weights.sum(dim=-1, keepdim=True)
        return torch.matmul(read, value_weight.transpose(1, 2)) + value_bias

    def _read_words(self, scores: Tensor, value: Tensor, text_mask: Tensor | None, heads: slice) -> Tensor:
        """What each image position takes from the words: (B, V, C), output bias apart; masks ``scores``."""
        out_weight = self.image_out.weight.unflatten(1, (self.num_heads, -1))[:, heads]  # (C, N, D)
        word_values = torch.matmul(value, out_weight.permute(1, 2, 0)).flatten(1, 2)  # (B, N * T, C)
        if text_mask is not None:
            masked_scores(scores, text_mask[:, None, :, None])
        weights = F.dropout(scores.softmax(dim=2), self.dropout, self.training)  # (B, N, T, V)
        # words stay the outer axis in both directions: gradients then arrive in the layout of the weights
        return torch.matmul(word_values.transpose(1, 2), weights.flatten(1, 2)).transpose(1, 2)

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, T, N * D) to (B, N, T, D)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _per_head(self, parameter: Tensor) -> Tensor:
        """(N * D, ...) to (N, D, ...)."""
        return parameter.unflatten(0, (self.num_heads, -1))
