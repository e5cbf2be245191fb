from pathlib import Path

import pytest
from small_commands import DIGITS, QUICK

from budbreak.cli import main


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a small run that is complete; not to be changed."""
    out = tmp_path_factory.mktemp("out")
    assert main(["run", DIGITS, *QUICK, "--out", str(out)]) == 0
    (results,) = out.glob("*/results.json")
    return results.parent
