"""Models with int8 and int4 weights beside ONNX Runtime, OpenVINO and llama.cpp, each in a process of its own.

``one_row``: one row by a matrix; ``encoder``: a text encoder; ``decoder``: a token of a language model.
"""
