"""What a step may depend on: the code that it ran, the values that this code can read, and their guards.

A recorded run notes the code (`traced_code.py`, `dynamic_names.py`; `origins.py` says whose it is). The walk
(`walk.py`) follows the names in that code to values, and each value gets a guard (`guards.py`, for objects of
the library `library_guards.py`, for those of Python and NumPy `python_guards.py`), or denies the step
(`capturable.py`). `program_guards.py` puts the guards of one program together, with those on gradients
(`step_gradients.py`). `signature.py` takes arguments apart, `equality.py` says which values are equal.
"""
