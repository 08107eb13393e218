"""Element-wise ops: arithmetic with broadcasting, functions of one tensor, comparison and choice.

Shapes broadcast as in NumPy; the result keeps the memory order of the operands (channels-last stays so).
"""
