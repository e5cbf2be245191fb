"""Records in; tables, figures and one self-contained page out."""

from budbreak.report.conclusion import conclusion
from budbreak.report.terminal import terminal_table
from budbreak.report.writing import write_report

__all__ = ["conclusion", "terminal_table", "write_report"]
