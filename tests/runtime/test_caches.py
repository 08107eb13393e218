"""The sizes of the caches decide how work is cut up, never a bit of a result."""

import pytest
import ranvier._core as _core
from support.python import ended, printed

CALLS = """
import hashlib
import numpy as np
import ranvier as rv
import ranvier.nn.functional as F

rng = np.random.default_rng(0)
def array(*shape):
    return rv.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
def show(name, y, *inputs):
    y.sum().backward()
    parts = [y.detach().numpy(), *(x.grad.numpy() for x in inputs)]
    print(name, hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest())

for m, k, n in [(1, 900, 700), (7, 1200, 530), (130, 800, 1100)]:
    a, b = array(m, k), array(k, n)
    show(f"matmul {m} {k} {n}", a @ b, a, b)
convolutions = [(3, 40, 17, 2, 1), (24, 30, 40, 1, 1), (64, 14, 64, 1, 1), (32, 30, 32, 1, 32)]
convolutions += [(48, 33, 48, 2, 48), (160, 30, 160, 2, 160)]
for c, size, k, stride, groups in convolutions:
    x, w = array(2, c, size, size), array(k, c // groups, 3, 3)
    show(f"conv2d {c} {k}", F.conv2d(x, w, stride=stride, padding=1, groups=groups), x, w)
x, w = array(2, 12, 40, 40), array(64, 12, 1, 1)
show("conv2d 1x1", F.conv2d(x, w), x, w)
x, weight, bias = array(300, 700), array(700), array(700)
show("layer_norm", F.layer_norm(x, (700,), weight, bias), x, weight, bias)
x = array(4, 30, 21, 21)
show("batch_norm", F.relu(F.batch_norm(x, None, None, training=True)), x)
show("interpolate", F.interpolate(x, scale_factor=2.5, mode="bilinear"), x)
show("max_pool2d", F.max_pool2d(x, 3, 2), x)
"""


@pytest.mark.parametrize("level", _core.supported_isas())
def test_caches_of_any_size_give_the_same_bits(level: str) -> None:
    expected = printed("-c", CALLS, RANVIER_ISA=level)
    for caches in ["8,64,512", "48,2048,262144"]:
        assert printed("-c", CALLS, RANVIER_ISA=level, RANVIER_CACHES=caches) == expected


@pytest.mark.parametrize("caches", ["", "32,1024", "32,1024,x", "32,1024,32768,1", "32,0,32768", "-1,1,1"])
def test_caches_that_are_not_three_sizes_are_refused(caches: str) -> None:
    run = ended("-c", "import ranvier", RANVIER_CACHES=caches)
    assert run.returncode != 0
    assert f"[import] got RANVIER_CACHES={caches}; expected the sizes of L1, L2 and L3 in KB" in run.stderr
