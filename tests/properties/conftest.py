"""How the ops of a property are divided into tests."""

import pytest
from support.grouped import in_groups


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Some ops are one test, as pytest itself needs 2 ms for each; where the command selects by name
    (`-k hypot`, `test_nan[hypot]`), each op is one."""
    ops = getattr(metafunc.function, "every_op", None)
    if ops is None:
        return
    config = metafunc.config
    selects = config.getoption("keyword") or any("[" in argument for argument in config.args)
    groups = in_groups(ops, 1 if selects else 20)
    metafunc.parametrize(
        "ops", groups, ids=[f"{group[0]}..{group[-1]}" if len(group) > 1 else group[0] for group in groups]
    )
