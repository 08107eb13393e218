"""torch.fx: a module's calls as a graph, found by running it on proxies, and modules that run a graph.

`nodes.py` has nodes and graphs, `source.py` their code, `tracing.py` proxies and the tracer, `modules.py`
what runs a graph.
"""

from ranvier.torch.fx.modules import (
    _USER_PRESERVED_ATTRIBUTES_KEY,
    GraphModule,
    Interpreter,
    _CodeOnlyModule,
    _copy_attr,
    symbolic_trace,
)
from ranvier.torch.fx.nodes import Graph, Node, Target, has_side_effect, map_aggregate, map_arg
from ranvier.torch.fx.tracing import (
    Attribute,
    GraphAppendingTracer,
    ParameterProxy,
    Proxy,
    TraceError,
    Tracer,
    TracerBase,
    wrap,
)

__all__ = [
    "_USER_PRESERVED_ATTRIBUTES_KEY", "Attribute", "Graph", "GraphAppendingTracer", "GraphModule",
    "Interpreter", "Node", "ParameterProxy", "Proxy", "Target", "TraceError", "Tracer", "TracerBase",
    "_CodeOnlyModule", "_copy_attr", "has_side_effect", "map_aggregate", "map_arg", "symbolic_trace", "wrap",
]  # fmt: skip
