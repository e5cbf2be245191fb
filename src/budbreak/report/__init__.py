"""Records in; tables, figures and one self-contained page out."""

from budbreak.report.conclusion import conclusion
from budbreak.report.layout import NARROW, Stacked
from budbreak.report.terminal import terminal_table
from budbreak.report.writing import PAGE, write_report

__all__ = ["NARROW", "PAGE", "Stacked", "conclusion", "terminal_table", "write_report"]
