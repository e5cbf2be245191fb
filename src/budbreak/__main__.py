"""``python -m budbreak`` is the command ``budbreak``."""

import sys

from budbreak.cli import main

if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.pop(0)  # the current folder, which the command looks into last, and only for what the user names
    sys.exit(main())
