"""Values that a step reads by a roundabout way."""

import builtins
import contextvars
import copy
import functools
import operator
import os
import sys
import threading

from program.staleness.places import Plain, place

GLOBAL = None


@place(kinds="some")
def getattr_by_name(v, patch):
    top, which = Plain(v), Plain("value")
    return lambda: getattr(top, which.value), lambda new: setattr(top, "value", new)


@place(kinds="some")
def vars_of_an_object(v, patch):
    top = Plain(v)
    return lambda: vars(top)["value"], lambda new: setattr(top, "value", new)


@place(kinds="some")
def dict_of_an_object(v, patch):
    top = Plain(v)
    return lambda: top.__dict__["value"], lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def attrgetter(v, patch):
    top = Plain(Plain(v))
    get = operator.attrgetter("value.value")
    return lambda: get(top), lambda new: setattr(top.value, "value", new)


@place("either", kinds="some")
def itemgetter(v, patch):
    config, get = {"value": v}, operator.itemgetter("value")
    return lambda: get(config), lambda new: config.update(value=new)


@place("either", kinds="some")
def globals_call(v, patch):
    patch(sys.modules[__name__], "GLOBAL", v)
    return lambda: globals()["GLOBAL"], lambda new: setattr(sys.modules[__name__], "GLOBAL", new)


@place("either", kinds="some")
def evaluated_text(v, patch):
    top = Plain(v)
    return lambda: eval("top.value", {"top": top}), lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def executed_text(v, patch):
    top = Plain(v)

    def read():
        space = {"top": top}
        exec("found = top.value", space)
        return space["found"]

    return read, lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def copied(v, patch):
    top = Plain(v)
    return lambda: copy.copy(top).value, lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def deep_copied(v, patch):
    top = Plain([v])
    return lambda: copy.deepcopy(top).value[0], lambda new: setattr(top, "value", [new])


@place(kinds="some")
def partial_keyword(v, patch):
    def same(value):
        return value

    made = functools.partial(same, value=v)
    return lambda: made(), lambda new: made.keywords.update(value=new)


@place(kinds="some")
def partial_replaced(v, patch):
    def same(value):
        return value

    top = Plain(functools.partial(same, v))
    return lambda: top.value(), lambda new: setattr(top, "value", functools.partial(same, new))


@place(kinds="some")
def lambda_in_a_list(v, patch):
    calls = [lambda: v]
    return lambda: calls[0](), lambda new: calls.__setitem__(0, lambda: new)


@place(kinds="some")
def function_attribute(v, patch):
    def read():
        return read.value

    read.value = v
    return read, lambda new: setattr(read, "value", new)


@place(kinds="some")
def decorated_function(v, patch):
    top = Plain(v)

    def twice(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapped

    @twice
    def read():
        return top.value

    return read, lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def map_and_lambda(v, patch):
    top = Plain(v)
    return lambda: next(iter(map(lambda _: top.value, [0]))), lambda new: setattr(top, "value", new)  # noqa: C417


@place(kinds="some")
def context_manager(v, patch):
    class Holder(Plain):
        def __enter__(self):
            return self.value

        def __exit__(self, *_):
            pass

    holder = Holder(v)

    def read():
        with holder as found:
            return found

    return read, lambda new: setattr(holder, "value", new)


@place(kinds="some")
def exception_path(v, patch):
    config = {"value": v}

    def read():
        try:
            return config["missing"]
        except KeyError:
            return config["value"]

    return read, lambda new: config.update(value=new)


@place(kinds="some")
def name_that_falls_back_to_builtins(v, patch):
    patch(builtins, "staleness_value", v)
    return lambda: staleness_value, lambda new: setattr(builtins, "staleness_value", new)  # noqa: F821


@place("either", kinds="some")
def context_variable(v, patch):
    variable = contextvars.ContextVar("variable", default=v)
    return variable.get, variable.set


@place("either", kinds="some")
def thread_local(v, patch):
    local = threading.local()
    local.value = v
    return lambda: local.value, lambda new: setattr(local, "value", new)


@place("either", kinds="some")
def bound_method_of_a_dict(v, patch):
    config = {"value": v}
    get = config.get
    return lambda: get("value"), lambda new: config.update(value=new)


@place("either", kinds="some")
def weak_reference(v, patch):
    import weakref

    top = Plain(v)
    reference = weakref.ref(top)
    return lambda: reference().value, lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def reduced(v, patch):
    values = [1.0, v]
    return lambda: functools.reduce(lambda a, b: b, values), lambda new: values.__setitem__(1, new)


@place("either", kinds="some")
def pattern_matched(v, patch):
    config = {"value": v}

    def read():
        match config:
            case {"value": found}:
                return found
        return None

    return read, lambda new: config.update(value=new)


@place("either", kinds="some")
def system_module(v, patch):
    patch(sys, "staleness_value", v)
    return lambda: sys.staleness_value, lambda new: setattr(sys, "staleness_value", new)


@place("works", kinds="text")
def environment_variable(v, patch):
    patch.item(os.environ, "STALENESS", v)
    return lambda: os.environ["STALENESS"], lambda new: os.environ.__setitem__("STALENESS", new)


@place("works", kinds="text")
def environment_variable_by_getenv(v, patch):
    patch.item(os.environ, "STALENESS", v)
    return lambda: os.getenv("STALENESS", ""), lambda new: os.environ.__setitem__("STALENESS", new)


@place("works", kinds="text")
def environment_variable_by_get(v, patch):
    patch.item(os.environ, "STALENESS", v)
    return lambda: os.environ.get("STALENESS", ""), lambda new: os.environ.__setitem__("STALENESS", new)
