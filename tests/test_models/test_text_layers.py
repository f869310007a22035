"""Text layers against the layer written out, and against the layers of transformers and the public GLIP code."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertModel, CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPEncoder

from glipv2_mmdet.models.layers import BertFusionLayer, ClipFusionLayer, build_text_layer
from tests.reference.compare import assert_same, outputs_and_gradients
from tests.reference.text_layer import plain_text_layer

# ours -> transformers
NAMES = {
    'query': 'attention.self.query',
    'key': 'attention.self.key',
    'value': 'attention.self.value',
    'attention_out': 'attention.output.dense',
    'attention_norm': 'attention.output.LayerNorm',
    'ffn_in': 'intermediate.dense',
    'ffn_out': 'output.dense',
    'ffn_norm': 'output.LayerNorm',
}


@pytest.fixture
def layer() -> BertFusionLayer:
    torch.manual_seed(0)
    layer = BertFusionLayer(channels=24, num_heads=4, ffn_channels=36, dropout=0.2)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return layer.eval()


@pytest.fixture
def words() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(3, 6, 24)


MASK = torch.arange(6) < torch.tensor([[6], [2], [1]])


@pytest.mark.parametrize('mask', [None, MASK])
def test_equals_plain_form(layer, words, mask):
    parameters = list(layer.parameters())
    fast = outputs_and_gradients(lambda x: layer(x, mask), [words], parameters)
    plain = outputs_and_gradients(lambda x: plain_text_layer(layer, x, mask), [words], parameters)
    # the bias of the keys moves all scores alike: its gradient is rounding, so it is compared by its size
    position = 1 + [name for name, _ in layer.named_parameters()].index('key.bias')
    assert fast[1].pop(position).abs().max() < 1e-4 and plain[1].pop(position).abs().max() < 1e-4
    assert_same(fast, plain, 2e-5)


def test_equals_berts_own_layer(layer, words):
    config = BertConfig(vocab_size=10, hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=36)
    bert = BertModel(config, add_pooling_layer=False).eval()
    state = {
        f'encoder.layer.0.{NAMES[name.split(".")[0]]}.{name.split(".")[1]}': value
        for name, value in layer.state_dict().items()
    }
    missing, unexpected = bert.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith('embeddings') for name in missing)
    with torch.no_grad():
        embedded = bert.embeddings(inputs_embeds=words)
        expected = bert(inputs_embeds=words, attention_mask=MASK.long()).last_hidden_state
        torch.testing.assert_close(layer(embedded, MASK)[MASK], expected[MASK], rtol=0, atol=1e-5)


def test_padding_changes_nothing_for_real_words(layer, words):
    padded = torch.cat((words[:, :2], torch.full((3, 4, 24), 9.0)), dim=1)
    mask = (torch.arange(6) < 2).expand(3, -1)
    with torch.no_grad():
        torch.testing.assert_close(layer(padded, mask)[:, :2], layer(words[:, :2]), rtol=0, atol=1e-5)


def test_dropout_acts_in_training_only(layer, words):
    assert torch.equal(layer(words), layer(words))
    layer.train()
    assert not torch.equal(layer(words), layer(words))


def test_both_sub_layers_drop_before_their_residuals(layer, words, monkeypatch):
    dropped = []
    monkeypatch.setattr(F, 'dropout', lambda x, p, training: dropped.append((p, training)) or torch.zeros_like(x))
    layer.train()
    # with everything dropped only the two norms are left
    expected = layer.ffn_norm(layer.attention_norm(words))
    torch.testing.assert_close(layer(words), expected)
    assert dropped == [(0.2, True)] * 2


def test_width_must_divide_by_heads():
    with pytest.raises(ValueError, match='channels 10 must be a multiple of num_heads 4'):
        BertFusionLayer(channels=10, num_heads=4)


# ours -> transformers
CLIP_NAMES = {
    'query': 'self_attn.q_proj',
    'key': 'self_attn.k_proj',
    'value': 'self_attn.v_proj',
    'attention_out': 'self_attn.out_proj',
    'attention_norm': 'layer_norm1',
    'ffn_in': 'mlp.fc1',
    'ffn_out': 'mlp.fc2',
    'ffn_norm': 'layer_norm2',
}


@pytest.fixture
def clip_layer() -> ClipFusionLayer:
    torch.manual_seed(0)
    layer = ClipFusionLayer(channels=24, num_heads=4, ffn_channels=36)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return layer


@pytest.mark.parametrize('mask', [None, MASK])
def test_equals_clips_own_layer(clip_layer, words, mask):
    config = CLIPTextConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=36, layer_norm_eps=1e-12
    )
    config._attn_implementation = 'sdpa'
    clip = CLIPEncoder(config)
    clip.load_state_dict(
        {
            f'layers.0.{CLIP_NAMES[name.split(".")[0]]}.{name.split(".")[1]}': value
            for name, value in clip_layer.state_dict().items()
        }
    )
    with torch.no_grad():
        expected = clip(inputs_embeds=words, attention_mask=None if mask is None else mask[:, None, None])
        real = slice(None) if mask is None else mask
        torch.testing.assert_close(clip_layer(words, mask)[real], expected.last_hidden_state[real], rtol=0, atol=1e-5)


def test_clip_layer_equals_torch_attention_with_residuals(clip_layer, words):
    """The form of the public GLIP code: torch's own attention, key padding as its mask."""
    attention = nn.MultiheadAttention(24, 4, batch_first=True)
    joined = {
        f'in_proj_{kind}': torch.cat([getattr(getattr(clip_layer, part), kind) for part in ('query', 'key', 'value')])
        for kind in ('weight', 'bias')
    }
    out = {f'out_proj.{kind}': getattr(clip_layer.attention_out, kind) for kind in ('weight', 'bias')}
    attention.load_state_dict(joined | out)
    with torch.no_grad():
        read = clip_layer.attention_norm(words)
        expected = words + attention(read, read, read, key_padding_mask=~MASK, need_weights=False)[0]
        inner = clip_layer.ffn_in(clip_layer.ffn_norm(expected))
        expected = expected + clip_layer.ffn_out(inner * torch.sigmoid(1.702 * inner))
        torch.testing.assert_close(clip_layer(words, MASK)[MASK], expected[MASK], rtol=0, atol=1e-5)


def test_kinds_are_chosen_by_name():
    assert isinstance(build_text_layer('bert', 24, 4, 36, 0.3), BertFusionLayer)
    assert isinstance(build_text_layer('clip', 24, 4, 36, 0.3), ClipFusionLayer)
    with pytest.raises(ValueError, match=r"text_layer is 'gpt'. Expected 'bert' .* or 'clip'"):
        build_text_layer('gpt', 24, 4, 36, 0.3)
