"""TextFeatures: padding is known on the host, rows can be chosen."""

import torch

from glipv2_mmdet.structures import TextFeatures


def features(lengths: tuple[int, ...], longest: int) -> TextFeatures:
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    hidden = torch.arange(len(lengths) * longest * 2.0).view(len(lengths), longest, 2)
    return TextFeatures(hidden=hidden, embedded=-hidden, mask=mask, lengths=lengths)


def test_mask_is_handed_out_only_where_there_is_padding():
    padded, full = features((3, 2), 3), features((3, 3), 3)
    assert padded.has_padding and padded.padding_aware_mask is padded.mask
    assert not full.has_padding and full.padding_aware_mask is None


def test_select_repeats_reorders_and_cuts_to_the_longest_row():
    text = features((5, 2, 3), 5)
    chosen = text.select([2, 1, 2])
    assert chosen.lengths == (3, 2, 3)
    assert torch.equal(chosen.hidden, text.hidden[[2, 1, 2], :3])
    assert torch.equal(chosen.embedded, text.embedded[[2, 1, 2], :3])
    assert chosen.mask.tolist() == [[True, True, True], [True, True, False], [True, True, True]]


def test_select_keeps_the_gradient():
    text = features((2, 2), 2)
    hidden = text.hidden.requires_grad_()
    text.select([1, 1]).hidden.sum().backward()
    assert hidden.grad.tolist() == [[[0, 0], [0, 0]], [[2, 2], [2, 2]]]


def test_with_hidden_replaces_nothing_else():
    text = features((3, 2), 3)
    changed = text.with_hidden(torch.zeros(2, 3, 2))
    assert changed.hidden.abs().max() == 0
    assert changed.embedded is text.embedded and changed.mask is text.mask and changed.lengths == (3, 2)
    assert text.hidden.abs().max() > 0


def test_shifted_adds_to_words_and_not_to_padding():
    text = features((3, 2), 3)
    residual = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    moved = text.shifted(residual)
    assert torch.equal(moved.hidden[0], text.hidden[0] + residual)
    assert torch.equal(moved.embedded[0], text.embedded[0] + residual)
    assert torch.equal(moved.hidden[1, 2], text.hidden[1, 2]) and torch.equal(moved.embedded[1, 2], text.embedded[1, 2])
    assert torch.equal(moved.hidden[1, :2], text.hidden[1, :2] + residual[:2])


def test_join_pads_to_the_longest_batch():
    short, long = features((2,), 2), features((4, 3), 4)
    joined = TextFeatures.join([short, long])
    assert joined.lengths == (2, 4, 3)
    assert torch.equal(joined.hidden[0, :2], short.hidden[0]) and joined.hidden[0, 2:].abs().max() == 0
    assert torch.equal(joined.embedded[1:], long.embedded) and torch.equal(joined.mask[1:], long.mask)
    assert joined.mask[0].tolist() == [True, True, False, False]
    assert TextFeatures.join([long]) is long
