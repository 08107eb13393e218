"""no_grad, enable_grad, set_grad_enabled and observers: blocks, decorators, threads.

`recorded` says whether an op is recorded now: each block must switch it, and leave it as it was.
"""

import contextlib
import sys
from types import FunctionType

import numpy as np
import pytest
import ranvier as rv
from ranvier.observe import Observer, observers
from support.functions import exp
from support.threads import in_thread


def recorded():
    return exp(rv.ones(1, requires_grad=True)).requires_grad


def test_blocks_nest():
    with rv.no_grad():
        assert not recorded()
        with rv.enable_grad():
            assert recorded()
            with rv.set_grad_enabled(False):
                assert not recorded()
            assert recorded()
        assert not rv.is_grad_enabled()
    assert recorded()


def test_decorators_with_and_without_parentheses():
    assert not rv.no_grad()(recorded)()
    assert not rv.no_grad(recorded)()
    assert not rv.set_grad_enabled(False)(recorded)()
    assert rv.no_grad()(rv.enable_grad()(recorded))()
    assert rv.no_grad(recorded).__name__ == "recorded"
    assert recorded()


def test_set_grad_enabled_as_a_call():
    rv.set_grad_enabled(False)
    assert not recorded()
    rv.set_grad_enabled(True)
    assert recorded()


def test_an_error_inside_restores():
    with pytest.raises(KeyError), rv.no_grad():
        raise KeyError
    assert recorded()


def test_a_block_is_entered_any_number_of_times():
    block = rv.no_grad()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(block)
            with rv.enable_grad():
                assert recorded()
        assert not recorded()
    assert recorded()
    with pytest.raises(RuntimeError, match=r"\[no_grad\] got the end of a block that was not entered"):
        block.__exit__(None, None, None)


def test_each_thread_has_its_own():
    with rv.no_grad():
        assert in_thread(recorded)


def test_a_thread_that_ends_switched_off_leaves_the_others_on():
    in_thread(rv.set_grad_enabled, False)
    assert recorded()
    with rv.no_grad(), rv.no_grad():
        assert not recorded()
    assert recorded()


def test_generators_switch_in_each_of_their_parts():
    x = rv.ones(2, requires_grad=True)
    seen = []

    @rv.no_grad()
    def parts():
        try:
            sent = yield (x * 2).requires_grad
            seen.append(((x * 2).requires_grad, sent))
            yield (x * 2).requires_grad
        except KeyError:
            seen.append((x * 2).requires_grad)
            yield "caught"
        finally:
            seen.append((x * 2).requires_grad)
        return "returned"

    generator = parts()
    assert next(generator) is False
    assert (x * 2).requires_grad
    assert generator.send("sent") is False
    assert seen == [(False, "sent")]
    assert (x * 2).requires_grad
    assert generator.throw(KeyError()) == "caught"
    assert (x * 2).requires_grad
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    assert stopped.value.value == "returned"
    assert seen[1:] == [False, False]
    abandoned = parts()
    next(abandoned)
    abandoned.close()
    assert seen[3:] == [False]
    assert rv.is_grad_enabled()


def test_asynchronous_functions_are_refused():
    with pytest.raises(TypeError, match=r"\[no_grad\] got the asynchronous function later"):

        @rv.no_grad()
        async def later():
            return None


def test_inference_mode_is_left_and_entered_by_its_blocks_alone():
    def modes():
        return rv.is_inference_mode_enabled(), rv.is_grad_enabled()

    assert modes() == (False, True)
    with rv.inference_mode():
        assert modes() == (True, False)
        with rv.enable_grad():
            assert modes() == (True, True)
            assert rv.inference_mode(False)(modes)() == (False, True)
            with rv.inference_mode(), rv.no_grad():
                assert modes() == (True, False)
            assert modes() == (True, True)
        assert in_thread(modes) == (False, True)
        with rv.inference_mode(False):
            assert modes() == (False, True)
        with contextlib.suppress(ZeroDivisionError), rv.inference_mode(False):
            raise ZeroDivisionError
        rv.set_grad_enabled(True)
        assert modes() == (True, True)
    assert modes() == (False, True)
    assert rv.inference_mode(modes)() == rv.inference_mode()(modes)() == (True, False)

    @rv.inference_mode()
    def parts():
        yield modes()
        yield modes()

    for found in parts():
        assert found == (True, False)
        assert modes() == (False, True)


def test_tensors_know_whether_they_were_made_in_inference_mode():
    before = rv.ones(3)
    with rv.inference_mode():
        made = rv.ones(3), rv.Tensor([1.0]), rv.nn.Parameter(rv.ones(2)), rv.from_numpy(rv.ones(2).numpy())
        computed = before + 1, exp(before), before.clone(), rv.sort(before).values, rv.tensor([1])
        views = before[:1], before.view(3), before.detach(), before.add_(1)
    assert all(x.is_inference() for x in (*made, *computed))
    assert not any(x.is_inference() for x in (before, *views))
    assert made[0].view(3).is_inference()
    assert not made[0].clone().is_inference()
    assert not (made[0] + before).is_inference()


class Kinds(Observer):
    def __init__(self):
        self.kinds = []

    def apply(self, run, function, *inputs):
        self.kinds.append(type(function).__name__)
        return run(*inputs)


def test_no_line_of_python_begins_or_ends_one():
    assert not isinstance(Observer.__enter__, FunctionType)
    assert not isinstance(Observer.__exit__, FunctionType)


def test_observers_nest_and_end_with_an_exception():
    x, outer, inner = rv.ones(2), Kinds(), Kinds()

    def failing():
        with outer:
            x.exp()
            with inner:
                raise KeyError(x.sin())

    with pytest.raises(KeyError):
        failing()
    outer.__exit__()  # once more
    x.cos()
    assert (outer.kinds, inner.kinds, observers) == (["Exp", "Sin"], ["Sin"], [])


def test_a_file_written_in_a_recorded_step(tmp_path):
    @rv.compile
    def step(x):
        y = x * 2
        rv.export.c(lambda x: x + 1, tmp_path / "net.c", np.ones(2, np.float32))
        return y + x

    with pytest.warns(UserWarning, match="runs eagerly"):
        assert step(rv.ones(2)).tolist() == [3.0, 3.0]
    for k in range(5):
        assert step(rv.full((2,), float(k))).tolist() == [3.0 * k] * 2


def test_blocks_are_freed():
    def blocks():
        for _ in range(300):
            with rv.no_grad():
                pass
        return sys.getallocatedblocks()

    assert -blocks() + blocks() < 100
