"""The commands that README and Makefile name are understood as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from budbreak.cli import COMMANDS
from budbreak.cli.parser import Parser
from budbreak.recipes import load_recipe, parse_set

ROOT = Path(__file__).parent.parent.parent
WRITTEN = re.compile(r"^(?:\t\$\(BIN\)/)?(budbreak \w.*)$", re.MULTILINE)
LINES = sorted(
    {line for name in ("README.md", "Makefile") for line in WRITTEN.findall((ROOT / name).read_text("utf-8"))}
)


def understood(line):
    parser = Parser(prog="budbreak")
    commands = parser.add_subparsers(required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser.parse_args(shlex.split(line, comments=True)[1:])


def test_there_are_such_lines():
    assert len(LINES) > 8


@pytest.mark.parametrize("line", LINES)
def test_a_written_command_is_understood(line):
    options = understood(line)
    if hasattr(options, "recipe"):
        load_recipe(ROOT / options.recipe, dict(map(parse_set, options.sets)))
