"""Element-wise ops: arithmetic with broadcasting, functions of one tensor, comparison and choice.

Shapes broadcast as in NumPy; the result keeps the memory order of the operands (channels-last stays so).
"""

from ranvier.ops.elementwise.arithmetic import *
from ranvier.ops.elementwise.compare import *
from ranvier.ops.elementwise.extrema import *
from ranvier.ops.elementwise.functions import *
from ranvier.ops.elementwise.power import *
from ranvier.ops.elementwise.where import *
