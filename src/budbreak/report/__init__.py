"""Records in; tables, figures and one self-contained page out."""

from budbreak.report.conclusion import conclusion
from budbreak.report.terminal import terminal_table
from budbreak.report.writing import DEFAULT, FORMATS, PAGE, lacking, write_report

__all__ = ["DEFAULT", "FORMATS", "PAGE", "conclusion", "lacking", "terminal_table", "write_report"]
