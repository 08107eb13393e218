"""tril and triu: a vector, a second backward."""

import ranvier as rv
from support.refused import refused


def test_a_vector_has_no_triangle():
    refused(ValueError, "[tril] got x of shape (3,); expected at least 2 dimensions", rv.tril, rv.ones(3))


def test_backward_runs_again_as_nothing_is_saved_of_x():
    x = rv.ones(2, 2, requires_grad=True)
    y = x.tril()
    y.sum().backward()
    y.sum().backward()
    assert x.grad.tolist() == [[2, 0], [2, 2]]
