"""Views of parts, parts of nothing, sizes that are none."""

import ranvier as rv


def test_views_see_changes():
    x = rv.zeros(2, 2)
    x.diagonal().fill_(1)
    x.select(0, 1)[0] = 5
    x.narrow(1, 1, 1).add_(1)
    assert x.tolist() == [[1, 1], [5, 2]]


def test_parts_of_nothing():
    x = rv.zeros(0, 3)
    assert [part.shape for part in x.chunk(2)] == [(0, 3), (0, 3)]
    assert [part.shape for part in x.split(2)] == [(0, 3)]
    assert x.unbind(0) == ()
    assert x.roll(1, 0).shape == x.repeat(2, 1).shape == (0, 3)
