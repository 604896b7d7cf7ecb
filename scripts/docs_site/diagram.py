"""A wiring diagram as SVG: gates, operators and wires on a plane, in light or dark."""

from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]
THEMES = {
    "light": {"ink": "#24292f", "gate": "#d7efec", "line": "#00796b", "extra": "#c2410c"},
    "dark": {"ink": "#e6e6e6", "gate": "#1d4540", "line": "#4db6ac", "extra": "#fb923c"},
}
GATE_WIDTH, GATE_HEIGHT, RADIUS, DOT = 52, 36, 13, 3.5
HALF_GATE = GATE_HEIGHT / 2
FONT = "font-family='DejaVu Serif, Georgia, serif'"


@dataclass(frozen=True)
class Diagram:
    """What is drawn; y grows downwards.

    Attributes:
        gates: (name, function, place of the middle); a name is written beside the gate.
        operators: (sign, place of the middle).
        wires: corners of each wire, which ends in an arrow.
        extra: wires that set this cell apart from another.
        labels: (text, place) at the ends of wires.
    """

    width: int
    height: int
    gates: list[tuple[str, str, Point]]
    operators: list[tuple[str, Point]]
    wires: list[list[Point]]
    labels: list[tuple[str, Point]]
    dots: list[Point]
    extra: list[list[Point]] = field(default_factory=list)

    def svg(self, theme: str) -> str:
        """The picture in the colours of a theme."""
        colors = THEMES[theme]
        parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' "
            f"width='{self.width}' height='{self.height}'>",
            *(_arrowhead(name, colors[name]) for name in ("ink", "extra")),
            *(_wire(corners, "ink", colors, "") for corners in self.wires),
            *(_wire(corners, "extra", colors, " stroke-dasharray='6 4'") for corners in self.extra),
            *(
                f"<circle cx='{x}' cy='{y}' r='{DOT}' fill='{colors['ink']}'/>"
                for x, y in self.dots
            ),
            *(_gate(gate, colors) for gate in self.gates),
            *(_operator(operator, colors) for operator in self.operators),
            *(_text(text, place, colors["ink"], 17, "italic") for text, place in self.labels),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"


def _arrowhead(name: str, color: str) -> str:
    return (
        f"<marker id='{name}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
        f"orient='auto'><path d='M0 0 8 4 0 8z' fill='{color}'/></marker>"
    )


def _wire(corners: list[Point], name: str, colors: dict[str, str], style: str) -> str:
    points = " ".join(f"{x},{y}" for x, y in corners)
    return (
        f"<polyline points='{points}' fill='none' stroke='{colors[name]}' stroke-width='1.6' "
        f"marker-end='url(#{name})'{style}/>"
    )


def _gate(gate: tuple[str, str, Point], colors: dict[str, str]) -> str:
    name, function, (x, y) = gate
    box = (
        f"<rect x='{x - GATE_WIDTH / 2}' y='{y - HALF_GATE}' width='{GATE_WIDTH}' "
        f"height='{GATE_HEIGHT}' rx='6' fill='{colors['gate']}' stroke='{colors['line']}' "
        "stroke-width='1.6'/>"
    )
    label = _text(name, (x + 16, y - HALF_GATE - 10), colors["ink"], 16, "italic")
    size = 17 if len(function) < 5 else 14
    return box + _text(function, (x, y + 6), colors["ink"], size) + label


def _operator(operator: tuple[str, Point], colors: dict[str, str]) -> str:
    sign, (x, y) = operator
    width = RADIUS if len(sign) < 3 else 22
    shape = (
        f"<ellipse cx='{x}' cy='{y}' rx='{width}' ry='{RADIUS}' fill='{colors['gate']}' "
        f"stroke='{colors['line']}' stroke-width='1.6'/>"
    )
    return shape + _text(sign, (x, y + 5), colors["ink"], 15)


def _text(text: str, place: Point, color: str, size: int, style: str = "normal") -> str:
    x, y = place
    return (
        f"<text x='{x}' y='{y}' {FONT} font-size='{size}' font-style='{style}' "
        f"text-anchor='middle' fill='{color}'>{escape(text)}</text>"
    )
