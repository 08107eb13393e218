"""Random numbers in a compiled step: floats of the library are drawn anew, all others are refused."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv

PACKAGE = str(Path(rv.__file__).parents[1])


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (random.random, r"calls random.Random.random at .*test_randomness.py"),
        (lambda: random.choice([1, 2]), r"calls random.Random.getrandbits at .*test_randomness.py"),
        (np.random.random, r"random numbers of NumPy"),
        (lambda: getattr(np.random, "rand".lower())(), r"random numbers of NumPy"),
        (lambda: rv.randperm(5).sum() * 0, r"a draw of random integers at .*test_randomness.py"),
        (lambda: rv.randint(0, 9, (1,)), r"a draw of random integers at .*test_randomness.py"),
    ],
)
def test_numbers_that_python_draws_are_refused(draw, said):
    with pytest.raises(rv.CaptureError, match=said):
        rv.compile(lambda x: x * (1 + (draw() > 2)))(rv.ones(3))


def test_numbers_drawn_by_another_thread_are_allowed():
    """NumPy's global stream moves during a recording: the source of the draw is unknown."""
    running, x = True, rv.ones(3)

    def draw():
        while running:
            np.random.rand()  # noqa: NPY002
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(20):
            step = rv.compile(lambda x: x * 2)
            assert [step(x).tolist() for _ in range(3)] == [[2.0] * 3] * 3
        with pytest.raises(rv.CaptureError, match="RandomState"):
            rv.compile(lambda x: x * np.random.rand())(x)  # noqa: NPY002
    finally:
        running = False
        thread.join()


def test_a_module_of_random_numbers_may_be_imported_by_the_step():
    code = (
        "import sys, ranvier as rv\n"
        "def f(x):\n    import random, numpy.random\n    return x * 2\n"
        "assert 'numpy.random' not in sys.modules and 'random' not in sys.modules\n"
        "step = rv.compile(f)\n"
        "assert [step(rv.ones(1)).item() for _ in range(3)] == [2.0] * 3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": PACKAGE})


def test_drawn_floats_are_new_in_each_replay():
    x, step = rv.ones(3), rv.compile(lambda x: x * rv.rand(3))
    assert len({tuple(step(x).tolist()) for _ in range(5)}) == 5
