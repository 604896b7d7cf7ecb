"""The wiring of each cell, for the pictures of docs/concepts/cells.md."""

from dataclasses import replace

from docs_site.diagram import HALF_GATE, RADIUS, Diagram, Point

TOP, GATES, BUS = 60, 190, 250


def _up(x: float, start: float, end: float) -> list[Point]:
    return [(x, start), (x, end)]


LSTM = Diagram(
    width=640,
    height=310,
    gates=[
        ("f", "σ", (150, GATES)),
        ("i", "σ", (250, GATES)),
        ("g", "tanh", (330, GATES)),
        ("o", "σ", (440, GATES)),
    ],
    operators=[
        ("×", (150, TOP)),
        ("+", (330, TOP)),
        ("×", (330, 120)),
        ("tanh", (540, 100)),
        ("×", (540, 150)),
    ],
    wires=[
        [(30, TOP), (150 - RADIUS, TOP)],
        [(150 + RADIUS, TOP), (330 - RADIUS, TOP)],
        [(330 + RADIUS, TOP), (605, TOP)],
        _up(150, GATES - HALF_GATE, TOP + RADIUS),
        [(250, GATES - HALF_GATE), (250, 120), (330 - RADIUS, 120)],
        _up(330, GATES - HALF_GATE, 120 + RADIUS),
        _up(330, 120 - RADIUS, TOP + RADIUS),
        [(440, GATES - HALF_GATE), (440, 150), (540 - RADIUS, 150)],
        _up(540, TOP, 100 - RADIUS),
        _up(540, 100 + RADIUS, 150 - RADIUS),
        [(540, 150 + RADIUS), (540, BUS), (605, BUS)],
        [(30, BUS), (440, BUS), (440, GATES + HALF_GATE)],
        *(_up(x, BUS, GATES + HALF_GATE) for x in (150, 250, 330)),
        _up(80, 292, BUS + 4),
    ],
    labels=[
        ("c", (18, TOP + 5)),
        ("c′", (622, TOP + 5)),
        ("h", (18, BUS + 5)),
        ("h′", (622, BUS + 5)),
        ("x", (66, 296)),
    ],
    dots=[(540, TOP), (80, BUS), (150, BUS), (250, BUS), (330, BUS)],
)
PEEPHOLE_LSTM = replace(
    LSTM,
    extra=[
        [(90, TOP), (90, GATES), (150 - 26, GATES)],
        [(90, 138), (200, 138), (200, GATES), (250 - 26, GATES)],
        [(390, TOP), (390, GATES), (440 - 26, GATES)],
    ],
    dots=[*LSTM.dots, (90, TOP), (390, TOP)],
)
GRU = Diagram(
    width=640,
    height=310,
    gates=[
        ("r", "σ", (140, GATES)),
        ("z", "σ", (250, GATES)),
        ("h̃", "tanh", (420, GATES)),
    ],
    operators=[
        ("×", (140, 115)),
        ("1−", (250, 95)),
        ("×", (250, TOP - 10)),
        ("×", (500, 145)),
        ("+", (500, TOP - 10)),
    ],
    wires=[
        [(30, TOP - 10), (250 - RADIUS, TOP - 10)],
        [(250 + RADIUS, TOP - 10), (500 - RADIUS, TOP - 10)],
        [(500 + RADIUS, TOP - 10), (605, TOP - 10)],
        [(60, TOP - 10), (60, BUS), (250, BUS), (250, GATES + HALF_GATE)],
        _up(140, BUS, GATES + HALF_GATE),
        _up(140, TOP - 10, 115 - RADIUS),
        _up(140, GATES - HALF_GATE, 115 + RADIUS),
        [(140 + RADIUS, 115), (340, 115), (340, GATES), (420 - 26, GATES)],
        _up(250, GATES - HALF_GATE, 95 + RADIUS),
        _up(250, 95 - RADIUS, TOP - 10 + RADIUS),
        [(250, 145), (500 - RADIUS, 145)],
        [(420 + 26, GATES), (500, GATES), (500, 145 + RADIUS)],
        _up(500, 145 - RADIUS, TOP - 10 + RADIUS),
        [(30, 285), (420, 285), (420, GATES + HALF_GATE)],
        _up(95, 285, BUS + 4),
    ],
    labels=[("h", (18, TOP - 5)), ("h′", (622, TOP - 5)), ("x", (18, 290))],
    dots=[(60, TOP - 10), (140, TOP - 10), (140, BUS), (95, BUS), (95, 285), (250, 145)],
)
MIN_GRU = Diagram(
    width=640,
    height=280,
    gates=[("z", "σ", (200, GATES)), ("g", "linear", (420, GATES))],
    operators=[
        ("1−", (200, 105)),
        ("×", (200, TOP - 10)),
        ("×", (420, 145)),
        ("+", (420, TOP - 10)),
    ],
    wires=[
        [(30, TOP - 10), (200 - RADIUS, TOP - 10)],
        [(200 + RADIUS, TOP - 10), (420 - RADIUS, TOP - 10)],
        [(420 + RADIUS, TOP - 10), (605, TOP - 10)],
        _up(200, GATES - HALF_GATE, 105 + RADIUS),
        _up(200, 105 - RADIUS, TOP - 10 + RADIUS),
        [(200, 145), (420 - RADIUS, 145)],
        _up(420, GATES - HALF_GATE, 145 + RADIUS),
        _up(420, 145 - RADIUS, TOP - 10 + RADIUS),
        [(30, BUS), (420, BUS), (420, GATES + HALF_GATE)],
        _up(200, BUS, GATES + HALF_GATE),
    ],
    labels=[("h", (18, TOP - 5)), ("h′", (622, TOP - 5)), ("x", (18, BUS + 5))],
    dots=[(200, 145), (200, BUS)],
)
MIN_LSTM = Diagram(
    width=640,
    height=280,
    gates=[("f", "σ", (150, GATES)), ("i", "σ", (270, GATES)), ("g", "linear", (390, GATES))],
    operators=[
        ("×", (150, TOP - 10)),
        ("×", (390, 100)),
        ("+", (390, TOP - 10)),
        ("+", (490, 150)),
        ("÷", (550, TOP - 10)),
    ],
    wires=[
        [(30, TOP - 10), (150 - RADIUS, TOP - 10)],
        [(150 + RADIUS, TOP - 10), (390 - RADIUS, TOP - 10)],
        [(390 + RADIUS, TOP - 10), (550 - RADIUS, TOP - 10)],
        [(550 + RADIUS, TOP - 10), (605, TOP - 10)],
        _up(150, GATES - HALF_GATE, TOP - 10 + RADIUS),
        [(270, GATES - HALF_GATE), (270, 100), (390 - RADIUS, 100)],
        _up(390, GATES - HALF_GATE, 100 + RADIUS),
        _up(390, 100 - RADIUS, TOP - 10 + RADIUS),
        [(150, 142), (474, 142), (474, 150), (490 - RADIUS, 150)],
        [(270, 122), (490, 122), (490, 150 - RADIUS)],
        [(490 + RADIUS, 150), (550, 150), (550, TOP - 10 + RADIUS)],
        [(30, BUS), (390, BUS), (390, GATES + HALF_GATE)],
        *(_up(x, BUS, GATES + HALF_GATE) for x in (150, 270)),
    ],
    labels=[("h", (18, TOP - 5)), ("h′", (622, TOP - 5)), ("x", (18, BUS + 5))],
    dots=[(150, 142), (270, 122), (150, BUS), (270, BUS)],
)
CELLS = {
    "lstm": LSTM,
    "peephole": PEEPHOLE_LSTM,
    "gru": GRU,
    "mingru": MIN_GRU,
    "minlstm": MIN_LSTM,
}
