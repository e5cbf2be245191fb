"""The command ``budbreak``: one file per subcommand; `COMMANDS` enrols it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from budbreak._version import __version__
from budbreak.cli import bench, data, probe, report, run
from budbreak.cli.parser import Parser
from budbreak.errors import BudbreakError

COMMANDS = (run, probe, report, data, bench)


class _Terminated(BaseException):
    """SIGTERM arrived: unwind as for Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 0; 1 for an error that the message explains; 2 for a wrong command line; 130 after Ctrl-C and
        143 after SIGTERM, when everything up to the last checkpoint is stored.
    """
    parser = Parser(prog="budbreak", description="Activation-aware pruning of neural networks.")
    parser.add_argument("--version", action="version", version=f"budbreak {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(Path.cwd()))  # package.module:factory may lie where the user stands, as for python -m
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return options.execute(options)
    except BudbreakError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, _Terminated) as stop:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else 143
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated
