"""Rows of every rank in rank order, with gradient, also where a rank has none."""

import pytest
import torch

from glipv2_mmdet.dist import exchange_counts, gather_rows

ROWS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.mark.distributed
def test_every_rank_knows_all_counts_and_has_all_rows(both_ranks):
    for result in (rank['gather'] for rank in both_ranks):
        assert result['counts'] == [(3, 10), (0, 11)]
        assert torch.equal(result['blocks'][0], ROWS) and result['blocks'][1].shape == (0, 2)
        assert [names.tolist() for names in result['names']] == [[0, 1, 2], []]


@pytest.mark.distributed
def test_a_row_gets_the_sum_of_what_all_ranks_send_back(both_ranks):
    """d/dx of x² weighted 1 on rank 0 and 10 on rank 1: 22 x."""
    first, second = (rank['gather']['gradient'] for rank in both_ranks)
    torch.testing.assert_close(first, 22 * ROWS)
    assert second.shape == (0, 2)


def test_a_single_process_sends_nothing_and_gets_its_own_rows():
    assert exchange_counts((3, 7), torch.device('cpu')) == [(3, 7)]
    (block,) = gather_rows(ROWS, [3])
    assert block is ROWS
