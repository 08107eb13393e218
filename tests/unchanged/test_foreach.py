"""torch._foreach_ functions whose last argument is a factor, as programs and optimizers call them."""

import pytest
import ranvier as rv
from ranvier.torch.optimizers import foreach


@pytest.mark.parametrize("factor", [2.0, [2.0, 4.0]])
def test_factor_by_position(factor):
    tensors, others = [rv.ones(1), rv.ones(2)], [rv.full((1,), 3.0), rv.full((2,), 3.0)]
    foreach("_foreach_addcmul_")(tensors, others, others, factor)
    last = 37.0 if isinstance(factor, list) else 19.0
    assert tensors[0].tolist() == [19.0]
    assert tensors[1].tolist() == [last] * 2
    new = foreach("_foreach_addcdiv")(others, others, others, factor)
    assert new[0].tolist() == [5.0]
    assert len(new) == 2
    assert foreach("_foreach_addcdiv")(others, others, others, value=1.0)[0].tolist() == [4.0]
    assert foreach("_foreach_addcdiv")(others, others, others)[0].tolist() == [4.0]
