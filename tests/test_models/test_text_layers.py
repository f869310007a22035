"""BertFusionLayer against the layer written out, and against transformers' own BERT layer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig, BertModel

from glipv2_mmdet.models.layers import BertFusionLayer
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
    config = BertConfig(
        vocab_size=10, hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=36
    )
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
