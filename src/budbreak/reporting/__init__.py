"""Records in; tables, figures and one self-contained page out."""

from budbreak.reporting.conclusion import conclude, conclusion, explain
from budbreak.reporting.layout import NARROW, Stacked
from budbreak.reporting.terminal import terminal_table
from budbreak.reporting.writing import DEFAULT, FORMATS, PAGE, lacking, with_comparison, write_report

__all__ = [
    "DEFAULT",
    "FORMATS",
    "NARROW",
    "PAGE",
    "Stacked",
    "conclude",
    "conclusion",
    "explain",
    "lacking",
    "terminal_table",
    "with_comparison",
    "write_report",
]
