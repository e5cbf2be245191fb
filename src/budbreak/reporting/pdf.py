"""A drawing as a vector PDF of one page, for papers: text stays text, lines stay lines, no dependency.

Fonts are the two of the fourteen that every reader knows (Helvetica and its bold), so none is embedded.
"""

from __future__ import annotations

from budbreak.reporting.canvas import Circle, Drawing, Path, Rect, Text, flatten, text_width
from budbreak.reporting.styles import LIGHT, rgb

_POINTS = 0.75  # one pixel of the web is 1/96 inch, one point of PDF 1/72
_ARC = 0.5523  # control points that draw a quarter of a circle by a cubic curve


def to_pdf(drawing: Drawing) -> bytes:
    """The bytes of the file; the same drawing gives the same bytes."""
    shapes = tuple(flatten(drawing.shapes))
    alphas = sorted({shape.opacity for shape in shapes if isinstance(shape, Circle)})
    head = f"{_POINTS} 0 0 {_POINTS} 0 0 cm 1 J 1 j"
    stream = "\n".join([head, *(_shape(shape, drawing.height, alphas) for shape in shapes)]).encode("cp1252", "replace")
    states = " ".join(f"/A{place} << /ca {_number(alpha)} >>" for place, alpha in enumerate(alphas))
    size = f"[0 0 {_number(drawing.width * _POINTS)} {_number(drawing.height * _POINTS)}]"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {size} /Contents 4 0 R /Resources "
        f"<< /Font << /F0 5 0 R /F1 6 0 R >> /ExtGState << {states} >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        _font("Helvetica"),
        _font("Helvetica-Bold"),
        b"<< /Title %s /Subject %s /Producer (budbreak) >>" % (_unicode(drawing.title), _unicode(drawing.description)),
    ]
    return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    """Number the objects and append the table of their places; the last one is the information about the file."""
    body = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    places: list[int] = []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    end = b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, count - 1, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n" % count + table + end


def _font(name: str) -> bytes:
    return f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>".encode()


def _unicode(text: str) -> bytes:
    return b"<" + ("\ufeff" + text).encode("utf-16-be").hex().encode() + b">"


def _shape(shape: Path | Rect | Circle | Text, height: float, alphas: list[float]) -> str:
    if isinstance(shape, Path):
        return _path(shape, height)
    if isinstance(shape, Rect):
        place = " ".join(map(_number, (shape.x, height - shape.y - shape.height, shape.width, shape.height)))
        return f"{_colour(shape.fill)} rg {place} re f" if shape.fill else ""
    if isinstance(shape, Circle):
        return f"/A{alphas.index(shape.opacity)} gs {_disc(shape, height)} /A{len(alphas) - 1} gs"
    return _text(shape, height)


def _path(path: Path, height: float) -> str:
    way = " ".join(
        f"{_number(x)} {_number(height - y)} {'l' if place else 'm'}" for place, (x, y) in enumerate(path.points)
    )
    fill = f"{_colour(path.fill)} rg " if path.fill else ""
    stroke = f"{_colour(path.stroke)} RG {_number(path.width)} w [{_numbers(path.dash)}] 0 d " if path.stroke else ""
    paint = {(False, False): "n", (True, False): "f", (False, True): "S", (True, True): "B"}
    return f"{fill}{stroke}{way}{' h' if path.closed else ''} {paint[bool(fill), bool(stroke)]}"


def _disc(circle: Circle, height: float) -> str:
    x, y, r = circle.x, height - circle.y, circle.radius
    k = r * _ARC
    quarters = (
        (x + r, y + k, x + k, y + r, x, y + r),
        (x - k, y + r, x - r, y + k, x - r, y),
        (x - r, y - k, x - k, y - r, x, y - r),
        (x + k, y - r, x + r, y - k, x + r, y),
    )
    curves = " ".join(f"{_numbers(quarter)} c" for quarter in quarters)
    return f"{_colour(circle.fill)} rg {_numbers((x + r, y))} m {curves} f"


def _text(text: Text, height: float) -> str:
    shift = text_width(text.text, text.size, bold=text.bold) * {"start": 0.0, "middle": 0.5, "end": 1.0}[text.anchor]
    x, y = text.x, height - text.y
    matrix = f"0 1 -1 0 {_numbers((x, y - shift))}" if text.turned else f"1 0 0 1 {_numbers((x - shift, y))}"
    # WinAnsi has no minus sign; its en dash is as wide.
    content = text.text.replace("\u2212", "\u2013").replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    font = f"/F{int(text.bold)} {_number(text.size)} Tf"
    return f"BT {_colour(text.colour)} rg {font} {matrix} Tm ({content}) Tj ET"


def _colour(name: str) -> str:
    return _numbers(rgb(LIGHT.get(name, name)))


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(map(_number, values))


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
