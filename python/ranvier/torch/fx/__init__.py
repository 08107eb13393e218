"""torch.fx: a module's calls as a graph, found by running it on proxies, and modules that run a graph.

`nodes.py` has nodes and graphs, `source.py` their code, `tracing.py` proxies and the tracer, `modules.py`
what runs a graph.
"""
