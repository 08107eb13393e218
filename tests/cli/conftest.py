"""Fixtures of commands that run in the process of the tests."""

import pytest
from ranvier import cli


@pytest.fixture
def refused(capsys):
    """A function of a command that has to end with one line and code 1: the message."""

    def message(*arguments):
        assert cli.main([str(argument) for argument in arguments]) == 1, arguments
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0].removeprefix("ranvier: error: ")

    return message


@pytest.fixture(autouse=True)
def threads_kept(threads):
    """A command sets the thread count for its process: each test gives it back."""
