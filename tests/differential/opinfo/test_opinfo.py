"""PyTorch's own operator samples as a judge of the ops of the same name: a part of them.

``RANVIER_OPINFO_SAMPLES`` says how many samples of each op, dtype and form (0: all); if it is not set, 4,
and 1 in half precision.
"""

import os
from collections import Counter

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("expecttest", reason="expecttest, which PyTorch's lists need, is not installed")

from differential.opinfo import compare  # noqa: E402
from differential.opinfo.driver import DTYPES, FAULTS, verdicts  # noqa: E402

SAMPLES = os.environ.get("RANVIER_OPINFO_SAMPLES")
LEAST_RIGHT = 0.98 if SAMPLES == "0" else 0.97  # of a few samples of each op, the rare ones weigh more


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("dtypes", "most"), [(DTYPES, 4), (compare.HALVES, 1)], ids=["", "halves"])
def test_operator_samples(capsys, dtypes, most):
    """No value, gradient, dtype or shape differs; what is refused is refused in the standard form."""
    counts, faults, refused = Counter(), [], Counter()
    for verdict in verdicts(most=int(SAMPLES or most), dtypes=dtypes):
        counts[verdict["verdict"]] += 1
        if verdict["verdict"] in FAULTS:
            place = f"{verdict['op']} {verdict['dtype']} {verdict['form']} ({verdict['sample']})"
            faults.append(f"{verdict['verdict']}: {place}: {verdict['message']}")
        if verdict["verdict"] == "refused":
            refused[verdict["op"]] += 1
    judged = sum(counts[name] for name in ("right", "refused", *FAULTS))
    with capsys.disabled():
        print(f"\noperator samples: {dict(counts)}, {counts['right'] / judged:.2%} right")
    assert judged > 1000, dict(counts)
    assert not faults, "\n".join(faults[:20])
    assert counts["right"] >= LEAST_RIGHT * judged, refused.most_common(20)


def differences(ours, theirs):
    import ranvier as rv

    pair = rv.tensor(ours, requires_grad=True), torch.tensor(theirs, requires_grad=True)
    return compare.kinds(*pair), compare.values(*pair)


def test_the_judge_sees_a_wrong_value_and_a_wrong_shape():
    assert differences([1.0, 2.0], [1.0, 2.0]) == (None, None)
    assert "1 of 2 differ, at (1,)" in differences([1.0, 2.0], [1.0, 2.001])[1]
    assert differences([1.0, float("nan")], [1.0, float("nan")]) == (None, None)
    assert differences([1.0, 2.0], [[1.0, 2.0]])[0] == "shape (2,); expected (1, 2)"


def test_the_judge_sees_another_gradient():
    """exp here against expm1 there: values differ; x * 1 against x.detach() * 1: only the gradient does."""
    import ranvier as rv
    from differential.opinfo.forms import Form
    from differential.opinfo.judge import judge_sample
    from torch.testing._internal.opinfo.core import SampleInput

    sample = SampleInput(torch.tensor([1.0, 2.0], requires_grad=True))
    verdict = judge_sample("x", Form("x", lambda x: x * 3, lambda x: x * 3), sample)
    assert verdict == ("right", "")
    verdict = judge_sample("x", Form("x", rv.exp, torch.expm1), sample)
    assert verdict[0] == "wrong"
    assert "result 0" in verdict[1]
    verdict = judge_sample("x", Form("x", lambda x: x * 1, lambda x: x * 2 - x.detach()), sample)
    assert verdict[0] == "wrong"
    assert "gradient 0" in verdict[1]
    verdict = judge_sample("x", Form("x", lambda x: x[:1] + 0, lambda x: x[:1]), sample)
    assert verdict == ("wrong", "result 0: shares memory with an argument: False; expected True")

    def raises(x):
        raise TypeError("no")

    assert judge_sample("x", Form("x", raises, torch.exp), sample)[0] == "raw"
    assert judge_sample("x", Form("x", lambda x: x.softmax(5), torch.exp), sample)[0] == "refused"


def test_a_worker_that_dies_is_a_crash(monkeypatch):
    """os.abort in place of an op: the verdict is a crash, and a new worker continues."""
    monkeypatch.setenv("RANVIER_OPINFO_ABORT", "sin")
    found = list(verdicts(lambda title: title in ("sin", "neg"), most=1))
    assert Counter((v["op"], v["verdict"]) for v in found)["sin", "crash"] == 1
    assert {v["verdict"] for v in found if v["op"] == "neg"} == {"right"}
