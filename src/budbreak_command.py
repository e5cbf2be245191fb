"""The console script, in a module of its own: Ctrl-C is answered while the library itself is still being imported."""

import signal


def main() -> int:
    """Run the command `budbreak`; see `budbreak.cli.main`."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the process in the midst of an import, without a traceback
    from budbreak.cli import main as run

    return run()
