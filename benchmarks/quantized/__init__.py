"""Models with weights of 32, 16, 8 and 4 bits beside ONNX Runtime, OpenVINO and llama.cpp.

``one_row``: one row by a matrix; ``encoder``: a text encoder; ``decoder``: a token of a language model;
``accuracy``: what fewer bits cost; ``adapters``: training beside a frozen base; ``loading``: files.
"""
