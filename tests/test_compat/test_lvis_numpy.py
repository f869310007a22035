"""The released lvis package and current numpy."""

import numpy as np
import pytest

from glipv2_mmdet.compat.lvis_numpy import provide_numpy_float

evaluator = pytest.importorskip('lvis.eval', reason='needs the lvis package')


@pytest.mark.skipif(hasattr(np, 'float'), reason='this numpy has np.float')
def test_the_evaluator_gets_the_name_and_numpy_stays_as_it_is():
    assert evaluator.np.float is float
    assert not hasattr(np, 'float')
    assert evaluator.np.cumsum is np.cumsum
    with pytest.raises(AttributeError, match='no_such_name'):
        _ = evaluator.np.no_such_name


@pytest.mark.skipif(hasattr(np, 'float'), reason='this numpy has np.float')
def test_a_second_call_changes_nothing(monkeypatch):
    assert provide_numpy_float() is False
    monkeypatch.setattr(evaluator, 'np', np)
    assert provide_numpy_float() is True and evaluator.np.float is float
