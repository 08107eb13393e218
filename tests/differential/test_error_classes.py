"""Wrong calls beside PyTorch's: `except RuntimeError`, IndexError ... of a program catches ours, too."""

import pytest
import ranvier as rv

torch = pytest.importorskip("torch")

KINDS = RuntimeError, IndexError, ValueError, TypeError
CALLS = """
t.ones(2) + t.ones(3) | t.ones(2, 3) @ t.ones(2, 3) | t.mm(t.ones(2), t.ones(2, 2)) | t.ones(2).reshape(3)
t.ones(2, 3).view(4, 2) | t.ones(2).expand(3) | t.cat([t.ones(2, 2), t.ones(3, 3)]) | t.cat([])
t.stack([]) | t.stack([t.ones(2), t.ones(3)]) | t.ones(2).sum(3) | t.ones(2).mean(-3)
t.ones(2).squeeze(4) | t.ones(2)[3] | t.ones(2, 2).transpose(0, 3) | t.ones(2, 2).permute(0, 0)
t.ones(2, 2).permute(0) | t.ones(2).unsqueeze(4) | t.ones(2)[0, 0] | t.ones(3)[t.tensor([5])]
t.ones(3).gather(0, t.tensor([5])) | t.ones(3).item() | bool(t.ones(2))
t.ones(3).index_select(0, t.tensor([7])) | t.ones(2, 2).gather(0, t.tensor([0])) | t.arange(3).mean()
t.eye(-1) | t.zeros(-1) | t.arange(0, 3, -1) | t.linspace(0, 1, -1) | t.randint(3, 3, (2,))
t.ones(2).chunk(0) | t.rand(2) @ 3 | t.ones(2).split(-1) | t.ones(2).split([1, 2])
t.ones(2, 2).repeat(2) | t.ones(2).topk(3) | t.ones(2).kthvalue(3) | t.ones(0).max() | t.ones(0, 2).max(0)
t.ones(2).quantile(2.0) | t.ones(2).narrow(0, 1, 3) | t.ones(2).unfold(0, 3, 1)
t.broadcast_tensors(t.ones(2), t.ones(3)) | t.broadcast_shapes((2,), (3,)) | float(t.ones(2))
t.einsum("ij,jk", t.ones(2, 3), t.ones(2, 3)) | t.tensordot(t.ones(2, 3), t.ones(2, 3), 1)
t.dot(t.ones(2), t.ones(3)) | t.outer(t.ones(2, 2), t.ones(2)) | t.bmm(t.ones(1, 2, 3), t.ones(1, 2, 3))
t.addmm(t.ones(3), t.ones(2, 2), t.ones(2, 2)) | t.linalg.inv(t.ones(2, 3)) | t.linalg.inv(t.zeros(2, 2))
t.linalg.cholesky(-t.eye(2)) | t.linalg.solve(t.zeros(2, 2), t.ones(2)) | t.linalg.det(t.ones(2, 3))
t.cholesky(t.zeros(2, 2)) | t.inverse(t.zeros(2, 2)) | t.linalg.eigh(t.ones(2, 3))
t.ones(2, requires_grad=True).numpy() | t.ones(2).backward() | t.ones(2, requires_grad=True).backward()
t.ones(2, requires_grad=True).add_(1) | t.arange(2).requires_grad_() | t.tensor([1], requires_grad=True)
t.autograd.grad(t.ones(1), t.ones(1)) | twice(t) | t.ones(2).add_(t.ones(3))
t.ones(3).copy_(t.ones(2)) | t.arange(2).add_(0.5) | t.nn.functional.linear(t.ones(2, 3), t.ones(2, 2))
t.nn.Linear(3, 2)(t.ones(2, 2)) | t.nn.Conv2d(3, 2, 3)(t.ones(1, 2, 5, 5))
t.nn.Conv2d(3, 2, 3)(t.ones(1, 3, 2, 2)) | t.nn.Conv2d(3, 2, 3)(t.ones(3, 5))
t.nn.Conv1d(3, 2, 3)(t.ones(1, 2, 5)) | t.nn.MaxPool2d(3)(t.ones(1, 1, 2, 2))
t.nn.BatchNorm1d(3)(t.ones(2, 4)) | t.nn.BatchNorm2d(3)(t.ones(2, 3)) | t.nn.LayerNorm(3)(t.ones(2, 4))
t.nn.GroupNorm(2, 4)(t.ones(2, 3)) | t.nn.Embedding(3, 2)(t.tensor([5])) | t.nn.Embedding(3, 2)(t.ones(2))
t.nn.LSTM(3, 2)(t.ones(2, 4, 5)) | t.nn.GRU(3, 2)(t.ones(4, 5))
t.nn.Fold(2, 2)(t.ones(1, 3, 4))
t.nn.functional.mse_loss(t.ones(2), t.ones(3))
t.nn.functional.cross_entropy(t.ones(2, 3), t.tensor([0, 5]))
t.nn.functional.cross_entropy(t.ones(2, 3), t.tensor([0, 1, 1]))
t.nn.functional.nll_loss(t.ones(2, 3), t.ones(2))
t.nn.functional.binary_cross_entropy(t.ones(2), t.ones(3)) | t.nn.functional.l1_loss(t.ones(2), t.ones(3))
t.nn.functional.binary_cross_entropy(t.ones(2) * 2, t.ones(2)) | t.nn.functional.dropout(t.ones(2), 2.0)
t.nn.functional.pad(t.ones(2), (1, 1, 1, 1)) | t.nn.functional.one_hot(t.tensor([5]), 3)
t.multinomial(-t.ones(2), 1) | t.nn.functional.kl_div(t.ones(2), t.ones(3))
t.nn.functional.cosine_similarity(t.ones(2), t.ones(3), 0) | t.ones(2).double() @ t.ones(2)
t.nn.Linear(2, 2)(t.ones(2).double()) | t.nn.Linear(2, 2)(t.ones(2).long())
t.nn.functional.conv2d(t.ones(1, 1, 3, 3).double(), t.ones(1, 1, 2, 2))
t.scatter(t.ones(2), 0, t.tensor([3]), 1.0) | t.ones(2).scatter_add(0, t.tensor([0]), t.ones(1).double())
t.where(t.ones(2), 1.0, 2.0) | t.ones(2).masked_fill(t.ones(2), 1)
t.ones(2).masked_fill(t.ones(3).bool(), 1) | t.ones(2)[t.ones(3).bool()] | t.ones(2) & t.ones(2)
~t.ones(2) | setitem(t) | t.tensor([[1, 2], [3]]) | t.tensor(None) | t.ones("a")
t.ones(2).to("nowhere") | t.device("nowhere") | t.nn.Linear(2, 2).load_state_dict({})
t.set_default_dtype(t.int64) | t.finfo(t.int64) | len(t.tensor(1)) | t.ones(2).flatten(3)
t.ones(2).movedim(0, 4) | t.ones(2).flip(3) | t.ones(2).roll(1, 4) | t.ones(2).cumsum(3)
t.ones(2).sort(4) | t.ones(2).argmax(3) | t.ones(2, 2).diagonal(0, 0, 0) | t.ones(2).softmax(4)
t.ones(2, 2).norm(2, 5) | t.ones(2).size(4) | t.ones(4).unflatten(0, (3, 2)) | t.tril(t.ones(2))
t.meshgrid() | t.triu(t.ones(2)) | t.cross(t.ones(2), t.ones(2), dim=0)
"""


def twice(t):
    y = t.ones(2, requires_grad=True).exp().sum()
    y.backward()
    y.backward()


def setitem(t):
    t.ones(2)[:] = t.ones(3)


def raised(call, t):
    try:
        eval(call, {"t": t, "twice": twice, "setitem": setitem})
    except KINDS as error:
        return error
    return None


ROWS = [row.strip() for line in CALLS.strip().splitlines() for row in line.split(" | ")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", ROWS)
def test_the_class_of_an_error(call):
    theirs = raised(call, torch)
    assert theirs is not None
    ours = raised(call, rv)
    assert [
        kind.__name__ for kind in KINDS if isinstance(theirs, kind) and not isinstance(ours, kind)
    ] == [], ours
