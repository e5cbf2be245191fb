"""What each arm cost: epochs and seconds per seed, as bars."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.reporting.canvas import WIDER, Drawing, Group, Rect, Shape, Text, line, shorten, text_width
from budbreak.reporting.estimate import Cost
from budbreak.reporting.styles import style_of
from budbreak.reporting.wording import duration

_ROW = 24.0


def cost_drawing(found: Sequence[Cost], width: float) -> Drawing:
    """Two groups of bars, each from zero; the number and the ratio to the reference stand beside the bar."""
    label = min(0.34 * width, 12 + WIDER * max(text_width(cost.arm) for cost in found))
    shapes: list[Shape] = []
    top = 0.0
    for heading, values, texts in _groups(found):
        shapes.append(Text(0, top + 14, heading, size=12, bold=True))
        room = width - label - WIDER * max(text_width(text) for text in texts) - 10
        for place, (cost, value, text) in enumerate(zip(found, values, texts, strict=True)):
            y = top + 22 + _ROW * place
            length = room * value / (max(values) or 1)
            name = Text(label - 8, y + 13, shorten(cost.arm, label - 10), "end")
            bar = Rect(label, y + 1, length, _ROW - 8, style_of(cost.index).colour)
            shapes.append(Group((name, bar, Text(label + length + 6, y + 13, text)), cost.index))
        bottom = top + 22 + _ROW * len(found)
        shapes.append(line(label, top + 20, label, bottom - 4, "muted"))
        top = bottom + 8
    said = "; ".join(f"{cost.arm}: {cost.epochs:.0f} epochs, {duration(cost.seconds)}" for cost in found)
    return Drawing(width, top, "Cost per seed over all levels", f"{said}.", tuple(shapes))


def _groups(found: Sequence[Cost]) -> tuple[tuple[str, list[float], list[str]], ...]:
    def text(value: str, ratio: float | None) -> str:
        return f"{value}  ({ratio:.2f}x)" if ratio is not None else value

    epochs = [text(f"{cost.epochs:g}", cost.epochs_ratio) for cost in found]
    seconds = [text(duration(cost.seconds), cost.seconds_ratio) for cost in found]
    return (
        ("epochs per seed", [cost.epochs for cost in found], epochs),
        ("time per seed", [cost.seconds for cost in found], seconds),
    )
