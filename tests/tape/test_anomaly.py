"""set_detect_anomaly: backward raises at the first NaN, with the Function and the line that called it."""

import pytest
import ranvier as rv
from ranvier.autograd import detect_anomaly, set_detect_anomaly
from support.refused import refused


def wrong(x):
    y = x.sqrt()  # the line
    return (y * 0).sum()


LINE = wrong.__code__.co_firstlineno + 1


def gradient_of(function, x, create_graph=False):
    x = rv.tensor(x, requires_grad=True)
    function(x).backward(create_graph=create_graph)
    return x.grad


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_function_and_the_line(create_graph):
    with detect_anomaly(), pytest.raises(RuntimeError, match="returned nan values") as found:
        gradient_of(wrong, [1.0, 0.0], create_graph)
    assert "Function 'Sqrt' returned nan values in its 0th output" in str(found.value)
    assert f"{__file__}:{LINE}" in str(found.value)
    assert gradient_of(wrong, [1.0, 0.0])[1].isnan()


def test_one_of_several_outputs_and_inputs():
    with set_detect_anomaly(True), pytest.raises(RuntimeError, match="'Mul' returned nan values in its 1th"):
        gradient_of(lambda x: (rv.tensor([float("nan")]) * x).sum(), [1.0])
    with set_detect_anomaly(True):
        found = gradient_of(lambda x: sum(part.sum() for part in (x * 2).chunk(2)), [1.0, 2.0])
        assert found.tolist() == [2, 2]


def test_the_pool_that_keeps_its_gradient_at_the_maxima():
    def model(x):
        return (rv.max_pool2d(x, 2).relu().sqrt() * 0).sum()

    with detect_anomaly(), pytest.raises(RuntimeError, match="'Sqrt' returned nan"):
        gradient_of(model, [[[[0.0, -1.0], [-2.0, -3.0]]]])


def test_switches():
    set_detect_anomaly(True)
    try:
        with set_detect_anomaly(False):
            assert gradient_of(wrong, [0.0]).isnan().all()
        with detect_anomaly(check_nan=False):
            assert gradient_of(wrong, [0.0]).isnan().all()
        refused(RuntimeError, "returned nan values", gradient_of, wrong, [0.0])
    finally:
        set_detect_anomaly(False)
    assert gradient_of(wrong, [0.0]).isnan().all()
    y = rv.ones(2, requires_grad=True).exp()
    assert not hasattr(y.grad_fn, "called_at")


def test_the_gradients_are_the_same():
    def model(x):
        return (x.exp() * x.sin()).view(2, 2).matmul(x.view(2, 2)).sum()

    x = [0.1, 0.2, 0.3, 0.4]
    with detect_anomaly():
        found = gradient_of(model, x)
    assert found.tolist() == gradient_of(model, x).tolist()
