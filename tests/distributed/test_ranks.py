"""The launcher itself: a hang and a failure are loud, and show what every rank wrote."""

import pytest

from tests.distributed.ranks import run_ranks

pytestmark = pytest.mark.distributed
SCRIPT = 'import os, time; rank = os.environ["RANK"]; print("I am", rank, flush=True); '


def test_a_hang_ends_at_the_time_out_with_every_output(tmp_path):
    script = SCRIPT + 'time.sleep(60 if rank == "1" else 0)'
    with pytest.raises(AssertionError, match=r'(?s)Ranks \[1\] still ran after 1 sec.*I am 0.*I am 1'):
        run_ranks(['-c', script], tmp_path, timeout=1)


def test_a_failing_rank_ends_the_others_at_once(tmp_path):
    script = SCRIPT + 'raise SystemExit(3) if rank == "0" else time.sleep(60)'
    with pytest.raises(AssertionError, match=r'(?s)Rank 0 ended with code 3\..*I am 0'):
        run_ranks(['-c', script], tmp_path, timeout=30)
