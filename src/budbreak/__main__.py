"""``python -m budbreak`` is the command ``budbreak``."""

import sys

from budbreak.cli import main

if __name__ == "__main__":
    sys.exit(main())
