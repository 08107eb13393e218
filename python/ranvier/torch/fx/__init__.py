"""torch.fx: a module's calls as a graph, found by running it on proxies, and modules that run a graph.

`nodes.py` has nodes and graphs, `tracing.py` proxies and the tracer, `modules.py` the code of a graph and
what runs it. Beside them are the other names of PyTorch that record programs: torch.jit, torch.compiler and
torch.onnx.export.
"""
