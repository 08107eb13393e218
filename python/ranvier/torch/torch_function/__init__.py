"""The protocol `__torch_function__`: classes of arguments and modes take over calls of functions."""
