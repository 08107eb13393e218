"""Every command explains itself, with examples that it accepts."""

import re

import pytest
from ranvier import cli
from ranvier.cli import _parser


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "summary", "export", "config"])
def test_help_ends_with_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    examples = re.findall(
        rf"^  (?:\w+=\S+ )?ranvier {command}(.*)$", text.partition("examples:")[2], re.MULTILINE
    )
    assert examples
    for example in examples:
        _parser().parse_args([command, *example.split()])
