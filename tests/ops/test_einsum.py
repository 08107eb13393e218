"""einsum and the named matrix products, forward and backward, against the references."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import matmul as matmul_reference
from reference import matmul as reference
from support.op_case import OpCase
from support.refused import refused

# equation, shapes, the same in letters
EQUATIONS = (
    ("ij,jk->ik", ((7, 33), (33, 5)), None),
    ("ij,jk", ((7, 3), (3, 5)), "ij,jk->ik"),
    ("ij,kj->ki", ((7, 3), (5, 3)), None),
    ("bij,bjk->bik", ((5, 2, 3), (5, 3, 4)), None),
    ("bhqd,bhkd->bhqk", ((2, 3, 4, 5), (2, 3, 6, 5)), None),
    ("i,j", ((17,), (4,)), "i,j->ij"),
    ("i,i", ((17,), (17,)), "i,i->"),
    ("ij->ji", ((2, 3),), None),
    ("ij->", ((2, 3),), None),
    ("ba", ((2, 3),), "ba->ab"),
    ("ii", ((3, 3),), "ii->"),
    ("ii->i", ((3, 3),), None),
    ("iij->j", ((3, 3, 2),), None),
    ("iij,jj->i", ((3, 3, 2), (2, 2)), None),
    ("ij,ij->j", ((2, 3), (2, 3)), None),
    ("ij,k->", ((2, 3), (4,)), None),
    ("...ij,...jk->...ik", ((2, 1, 3, 4), (5, 4, 2)), "abij,bjk->abik"),
    ("a...b,b...c->...ac", ((2, 5, 3), (3, 5, 4)), "aeb,bec->eac"),
    ("b...->b", ((3, 4, 2),), "bij->b"),
    (",ij->ij", ((), (2, 3)), None),
    ("ij,jk->ik", ((2, 1), (3, 4)), None),
    ("bn,anm,bm->ba", ((2, 3), (4, 3, 5), (2, 5)), None),
)


class TestEinsum(OpCase):
    op_name = "einsum"
    variants = tuple({"equation": e, "shape": s, "letters": r or e} for e, s, r in EQUATIONS)

    def draw(self, rng, dtype):
        sizes = dict(zip("abcde", rng.integers(1, 6, 5), strict=True))
        names = [
            "".join(rng.permutation(list("abcde"))[: rng.integers(0, 4)]) for _ in range(rng.integers(1, 4))
        ]
        used = sorted(set("".join(names)))
        right = "".join(rng.permutation(used)[: rng.integers(0, len(used) + 1)]) if used else ""
        equation = ",".join(names) + "->" + right
        shapes = [tuple(int(sizes[i]) for i in part) for part in names]
        return {"equation": equation, "letters": equation}, self.sized(rng, dtype, shapes)

    def reduction(self, *arrays):
        return 5 * max(x.size for x in arrays) * max(x.size for x in arrays)

    def op(self, *tensors):
        return ops.einsum(self.equation, *tensors)

    def reference(self, *arrays):
        return reference.einsum(self.letters, *arrays)

    def reference_backward(self, dy, *arrays):
        return reference.einsum_backward(dy, self.letters, *arrays)


class TestProducts(OpCase):
    op_name = ("mm", "bmm", "mv", "dot", "outer")
    variants = (
        {"name": "mm", "shape": ((5, 33), (33, 4))},
        {"name": "bmm", "shape": ((3, 5, 7), (3, 7, 4))},
        {"name": "mv", "shape": ((5, 17), (17,))},
        {"name": "dot", "shape": ((17,), (17,))},
        {"name": "outer", "shape": ((5,), (17,))},
    )

    def empty_inputs(self, dtype):
        return tuple(np.ones([0 if n in (17, 33, 7) else n for n in shape], dtype) for shape in self.shape)

    def drawn_shape(self, rng):
        n, m, k, p = (int(i) for i in rng.integers(1, 20, 4))
        shapes = {"mm": ((m, k), (k, p)), "bmm": ((n, m, k), (n, k, p)), "mv": ((m, k), (k,))}
        return {**shapes, "dot": ((k,), (k,)), "outer": ((m,), (p,))}[self.name]

    def reduction(self, a, b):
        return max(*a.shape, *b.shape)

    def _matrices(self, a, b):
        return (a[:, None], b[None]) if self.name == "outer" else (a, b)

    def reference(self, a, b):
        return matmul_reference.matmul(*self._matrices(a, b))

    def reference_backward(self, dy, a, b):
        gradients = matmul_reference.matmul_backward(dy, *self._matrices(a, b))
        return tuple(g.reshape(x.shape) for g, x in zip(gradients, (a, b), strict=True))


def test_nothing_to_add():
    a, b = rv.zeros(2, 0, requires_grad=True), rv.zeros(0, 3)
    y = rv.einsum("ij,jk->ik", a, b)
    assert y.tolist() == [[0, 0, 0], [0, 0, 0]]
    y.sum().backward()
    assert a.grad.shape == (2, 0)


def test_integers_and_lists():
    a = rv.tensor([[1, 2], [3, 4]])
    assert rv.einsum("ij,jk->ik", [a, a]).tolist() == [[7, 10], [15, 22]]
    assert rv.einsum("i j -> j", a).tolist() == [4, 6]


def test_lists_in_place_of_an_equation():
    a, b = rv.randn(2, 3), rv.randn(2, 3)
    for lists, equation in (
        (([0, 1], [2, 1], [0, 2]), "ij,kj->ik"),
        (([51, 25], [51, 25]), "zZ,zZ"),
        (([..., 30], [30 - 4, 30], [..., 26]), "...j,ij->...i"),
        (((1, 0), (1, 2)), "ba,bc"),
    ):
        args = (a, lists[0], b, *lists[1:])
        np.testing.assert_array_equal(rv.einsum(*args).numpy(), rv.einsum(equation, a, b).numpy())
    assert rv.einsum(a, [1, 0]).shape == (3, 2)
    refused(ValueError, "[einsum] got indices [52, 0]; expected numbers from 0 to 51", rv.einsum, a, [52, 0])
    refused(TypeError, "[einsum] got indices of type Tensor; expected a list", rv.einsum, a, [0, 1], a)
    refused(ValueError, "got the result 'C'", rv.einsum, a, [0, 1], [2])


@pytest.mark.parametrize(
    ("equation", "text"),
    [
        ("ij,jk->iz", r"got the result 'iz' in 'ij,jk->iz'; expected indices of the operands, each once"),
        ("ij->ij", r"got 2 operands for 'ij->ij'; expected 1"),
        ("ijk,jk", r"got 'ijk' for 2 dimensions in 'ijk,jk'; expected a letter for each, or '...'"),
        ("i1,jk", r"got 'i1' for 2 dimensions"),
        ("ij,ji", r"got sizes 2 and 4 for index 'i' of 'ij,ji'; expected equal sizes"),
        ("ii,jk", r"got sizes 2 and 3 for index 'i' of"),
    ],
)
def test_wrong_equations(equation, text):
    with pytest.raises(ValueError, match=r"\[einsum\] " + text):
        rv.einsum(equation, rv.zeros(2, 3), rv.zeros(3, 4))


def test_wrong_calls():
    refused(TypeError, "[einsum] got an equation of type int; expected a str", rv.einsum, 3, rv.zeros(2))
    with pytest.raises(ValueError, match=r"\[mm\] got shapes \(5, 2, 3\) and \(3, 4\); expected 2 and 2 dim"):
        rv.mm(rv.zeros(5, 2, 3), rv.zeros(3, 4))
    with pytest.raises(ValueError, match=r"\[bmm\] got shapes \(1, 2, 3\) and \(5, 3, 4\); expected as many"):
        rv.bmm(rv.zeros(1, 2, 3), rv.zeros(5, 3, 4))
