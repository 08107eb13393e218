"""PyTorch's own lists of modules as a judge: every case that needs nothing excluded is right."""

import re
from collections import Counter

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("expecttest", reason="expecttest, which PyTorch's lists need, is not installed")

from differential.modules.cases import Case, Input, cases  # noqa: E402
from differential.modules.judge import judge  # noqa: E402

# What is not compared: a part of "title: message", and why.
EXCLUDED = {
    r"3[dD]|trilinear": "volumes, which docs/versions.md leaves out",
    r"complex": "complex numbers, which docs/versions.md leaves out",
    r"CrossMapLRN2d|FractionalMaxPool|LinearCrossEntropy": "a name that is not here",
    r"(RNN|GRU|LSTM)#2: TypeError": "a wrong dtype is a TypeError here, there a ValueError",
    r"NLLLoss#0: returned": "a weight is cast to the dtype of the scores, there refused",
    r"BatchNorm.d#1: returned": "eps = 0, which ONNX files may have, is refused there",
}
LEAST = {"module_db": 2200, "module_errors": 230, "common_nn": 245}  # of 2,232, 232 and 250 in PyTorch 2.13


def excluded(text: str) -> str | None:
    return next((why for part, why in EXCLUDED.items() if re.search(part, text)), None)


@pytest.mark.parametrize("source", LEAST)
def test_modules(source, capsys):
    counts, faults = Counter(), []
    for case in cases(source):
        verdict, message = judge(case)
        why = None if verdict == "right" else excluded(f"{case.title}: {message}")
        counts[why or verdict] += 1
        if verdict != "right" and why is None:
            faults.append(f"{verdict}: {case.title} {case.dtype} training={case.training}: {message}")
    with capsys.disabled():
        print(f"\n{source}: {dict(counts)}")
    assert not faults, "\n".join(faults[:20])
    assert counts["right"] >= LEAST[source]


def linear(ours, **settings):
    x = torch.ones(2, 3, requires_grad=True)
    return Case("x", torch.nn.Linear, ours, Input(3, 2), Input(x), torch.float32, **settings)


def test_the_judge_sees_what_is_wrong():
    import ranvier as rv

    class Doubled(rv.nn.Linear):
        def forward(self, input):
            return super().forward(input) * 2

    class Detached(rv.nn.Linear):
        def forward(self, input):
            return super().forward(input.detach())

    class Biased(rv.nn.Linear):
        def __init__(self, *sizes):
            super().__init__(*sizes, bias=False)

    assert judge(linear(rv.nn.Linear)) == ("right", "")
    found = [judge(linear(kind)) for kind in (Doubled, Detached, Biased)]
    assert [verdict for verdict, _ in found] == ["wrong"] * 3
    starts = [re.match(r"\w+ \w+", message)[0] for _, message in found]
    assert starts == ["result 0", "gradient 0", "state dict"]
    refused = linear(rv.nn.Linear, error=(ValueError, False))
    assert judge(refused) == ("wrong", "returned; expected ValueError")
