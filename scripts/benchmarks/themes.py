"""Charts of the documentation: one picture for its light pages, one for its dark ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kgated.optional_imports import from_demo

# The text, lines and edges of each theme; the background stays transparent.
INKS = {"light": "#1f2328", "dark": "#e6edf3"}
_COLOURED = (
    "text.color",
    "axes.edgecolor",
    "axes.labelcolor",
    "xtick.color",
    "ytick.color",
    "legend.labelcolor",
)


def theme_paths(path: Path) -> dict[str, Path]:
    """The picture of each theme: blocks-light.png and blocks-dark.png for `blocks.png`."""
    return {theme: path.with_stem(f"{path.stem}-{theme}") for theme in INKS}


def save_in_themes(draw: Callable[[], Any], path: Path) -> list[Path]:
    """Draws a figure once per theme, and writes each with a transparent background.

    Args:
        draw: makes a `matplotlib.figure.Figure`. It is called under the colours of a theme.
        path: of the pictures, without the theme.

    Returns:
        The files, as `theme_paths` names them.
    """
    matplotlib = from_demo("matplotlib")
    paths = theme_paths(path)
    for theme, target in paths.items():
        colours: dict[str, Any] = dict.fromkeys(_COLOURED, INKS[theme])
        with matplotlib.rc_context(colours | {"legend.framealpha": 0.0}):
            draw().savefig(target, transparent=True)
    return list(paths.values())


def text_colour() -> str:
    """The colour of text in the theme that is drawn."""
    return str(from_demo("matplotlib").rcParams["text.color"])
