"""Random programs of views, in-place changes and backward passes, compared with PyTorch.

``RANVIER_PROGRAMS`` says how many (1,000 if it is not set), ``RANVIER_PROGRAMS_FROM`` from which seed on.
"""

import os
import re
from collections import Counter

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from differential.random_pairs import compare, draw, shrunk  # noqa: E402

PROGRAMS = int(os.environ.get("RANVIER_PROGRAMS", "1000"))
FIRST = int(os.environ.get("RANVIER_PROGRAMS_FROM", "0"))
# Refused by intention, as the errors say: PyTorch writes to such memory, or loses the history, silently.
INTENDED = re.compile("several elements at one place in memory|a Tensor with a history under no_grad")
MOST_REFUSED = 0.005  # the share of programs that are refused otherwise


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("dtype", "share"), [("", 1), ("bfloat16", 0.2), ("float16", 0.1)])
def test_random_programs(capsys, dtype, share):
    """No value, gradient or hook differs, and few programs that are legal in PyTorch are refused."""
    kinds, wrong, refused = Counter(), [], []
    for seed in range(FIRST, FIRST + int(PROGRAMS * share)):
        program = draw(seed, dtype)
        verdict = compare(program)
        kinds[verdict.kind] += 1
        if verdict.kind in ("differs", "crash"):
            wrong.append(_text(seed, shrunk(program, verdict.kind)))
        if verdict.kind == "refused" and not INTENDED.search(verdict.detail):
            refused.append(f"# seed {seed}: {verdict.line}\n#   {verdict.detail}")
    with capsys.disabled():
        print(f"\nprograms from seed {FIRST} {dtype}: {dict(kinds)}")
    assert not wrong, "\n\n".join(wrong[:10])
    assert len(refused) <= max(MOST_REFUSED * PROGRAMS * share, 1), "\n".join(refused)


def _text(seed, program):
    verdict = compare(program)
    lines = "\n".join(program)
    return f"# seed {seed}, {verdict.kind}: {verdict.detail}\n{lines}"


def test_a_difference_is_found_and_shrunk():
    """The judge itself: a program of which one line is not what the other library does."""
    program = [
        "a0 = T.tensor([1.0, 2.0], requires_grad=True)",
        "a1 = a0 * 2",
        "a3 = a1 + 1.0",
        "a2 = a1[0:1]",
        "a2.mul_(3.0 if T.__name__ == 'torch' else 4.0)",
        "a1.sum().backward()",
    ]
    assert compare(program).kind == "differs"
    assert [line[:2] for line in shrunk(program, "differs")] == ["a0", "a1", "a2", "a2"]


SECOND = 125  # more find gradients of a quotient itself, which is part of its own derivative here only
LEAF = re.compile(r"(a\d+) = .*requires_grad=True\)$")


def test_gradients_of_gradients():
    wrong, same = [], 0
    for seed in range(SECOND):
        *program, last = draw(seed) or [""]
        terms = re.findall(r"\((a\d+) \* (\d+)\.0\)\.sum\(\)", last)
        text = "\n".join(program)
        if not terms or ".norm(" in text or "(0," in text:  # at a norm of 0 PyTorch's is NaN
            continue
        leaves = [found[1] for line in program if (found := LEAF.match(line))]
        program += [
            f"l = {' + '.join(f'({a} * {a} * {a} * {k}.0).sum()' for a, k in terms)}",
            f"g = T.autograd.grad(l, [{', '.join(leaves)}], create_graph=True, allow_unused=True)",
            "h = sum([(x * x).sum() for x in g if x is not None])",
            "h.backward()",
        ]
        verdict = compare(program)
        same += verdict.kind == "same"
        if verdict.kind in ("differs", "crash"):
            wrong.append("\n".join([f"# seed {seed}: {verdict.detail}", *program]))
    assert not wrong, "\n\n".join(wrong[:5])
    assert same >= 50  # without those that are not judged
