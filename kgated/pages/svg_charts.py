"""Charts by Matplotlib, as SVG elements of an HTML page in the page's font."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from kgated.optional_imports import from_demo
from kgated.pages.colours import GREY, GRID, INK

STYLE = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
METADATA = ("Creator", "Date", "Format", "Type")  # left out of the SVG


def svg_chart(
    draw: Callable[[Any], None],
    label: str,
    size_inches: tuple[float, float],
    *,
    grid: str = "both",
    hidden_spines: Sequence[str] = ("top", "right"),
) -> str:
    """A chart as SVG text for a page.

    Args:
        draw: draws on empty axes of Matplotlib.
        label: for screen readers; equal labels and drawings give equal text.
        size_inches: width and height; 72 units of the page to an inch.
        grid: "x", "y" or "both".
        hidden_spines: sides of the axes without a line.

    Raises:
        ImportError: matplotlib, of the extra `demo`, is missing.
    """
    mpl, figure_module = from_demo("matplotlib"), from_demo("matplotlib.figure")
    with mpl.rc_context({**STYLE, "svg.hashsalt": label}):
        figure = figure_module.Figure(size_inches, layout="constrained")
        axes = figure.subplots()
        axes.spines[list(hidden_spines)].set_visible(False)
        axes.grid(axis=grid, color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(METADATA))
        return inlined(text.getvalue(), label)


def legend_beside(axes: Any) -> None:
    """Put the legend to the right of the axes."""
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def inlined(svg: str, label: str) -> str:
    """An SVG file as an element of an HTML page: no prologue, no addresses, no repeated ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s+xmlns(:\w+)?=\"[^\"]*\"", "", svg)
    svg = re.sub(r"\s+id=\"[a-z]+(\.\w+)?_\d+\"", "", svg)
    box = re.search(r"viewBox=\"[^\"]*\"", svg)
    return f'<svg {box[0] if box else ""} role="img" aria-label="{label}"' + svg[svg.index(">") :]
