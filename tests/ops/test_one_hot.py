"""one_hot: the number of classes."""

import numpy as np
import ranvier as rv
from ranvier import ops
from support.refused import refused


def test_the_number_of_classes_is_found():
    assert ops.one_hot(np.array([0, 3])).shape == (2, 4)


def test_wrong_classes():
    refused(TypeError, "[one_hot] got classes of dtype float32", ops.one_hot, rv.ones(2))
    refused(ValueError, "got classes from -1 to 2; expected 0 to 2", ops.one_hot, np.array([-1, 2]), 3)
    refused(ValueError, "expected num_classes to be given", ops.one_hot, np.zeros(0, np.int64))
