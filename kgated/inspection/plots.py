"""Plots of gate activations and of gradient flow; a plot imports matplotlib when it is drawn."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from kgated.optional_imports import from_demo
from kgated.pages.colours import series_colour

Named = Mapping[str, Mapping[str, np.ndarray]]
Style = dict[str, Any]

# Line styles distinguish the series in grey.
DASHES = ("-", (0, (6, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))
TITLES = {
    "i": "input gate",
    "f": "forget gate",
    "o": "output gate",
    "z": "update gate",
    "r": "reset gate",
    "g": "candidate",
    "c": "cell state",
    "h": "hidden state",
}


def _styles(labels: Mapping[str, Any], styles: Mapping[str, Style] | None) -> dict[str, Style]:
    """The line properties of each label: those in `styles`, or the next colour and line style."""
    return {
        label: {"color": series_colour(n), "linestyle": DASHES[n % len(DASHES)]}
        | dict((styles or {}).get(label, {}))
        for n, label in enumerate(labels)
    }


def plot_gates(
    traces: Named | Mapping[str, np.ndarray],
    sample: int = 0,
    axes: Any = None,
    styles: Mapping[str, Style] | None = None,
) -> Any:
    """Plot the result of `gate_activations`: a panel per gate or state, layers overlaid.

    Each line is the median over the units at each step; the band around it reaches from the 10th to
    the 90th percentile.

    Args:
        traces: label to quantity to array (N, T, U): the result of `gate_activations`, or layers
            of several models, `{"LSTM": gate_activations(a, x)["lstm"], "GRU": …}`; or a single
            layer, quantity to array.
        sample: the index of the sequence, 0 to N-1.
        axes: matplotlib axes, one per quantity, to which the caller adds a legend. None: a new
            figure with a legend.
        styles: label to properties of its line, such as `{"GRU": {"color": "black"}}`.

    Returns:
        The `matplotlib.figure.Figure`; its `savefig` writes it.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no layer.
    """
    traces = _by_label(traces)
    names = [name for name in TITLES if any(name in layer for layer in traces.values())]
    panels = _new_axes(len(names)) if axes is None else list(axes)
    for panel, name in zip(panels, names, strict=True):
        for label, style in _styles(traces, styles).items():
            if name in traces[label]:
                _draw_units(panel, traces[label][name][sample], label, style)
        panel.set_title(TITLES[name], loc="left", fontsize="medium")
        panel.set_xlabel("time step t")
        panel.set_ylabel(name)
    return _finish(panels, legend=axes is None)


def _draw_units(panel: Any, values: np.ndarray, label: str, style: Style) -> None:
    low, middle, high = np.percentile(values, (10, 50, 90), axis=-1)
    steps = np.arange(len(values))
    panel.fill_between(steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
    panel.plot(steps, middle, label=label, **{"linewidth": 1.4, **style})


def plot_gradient_flow(
    flows: Named | Mapping[str, np.ndarray],
    axes: Any = None,
    styles: Mapping[str, Style] | None = None,
) -> Any:
    """Plot the result of `gradient_flow`: a panel for h and one for c, layers overlaid.

    The scale is logarithmic, so that a gradient that vanishes geometrically is a straight line.
    Norms of zero are left out.

    Args:
        flows: label to `"h"` and `"c"` to norms (T,): the result of `gradient_flow`, or layers of
            several models, `{"LSTM": gradient_flow(a, x, y)["lstm"], "GRU": …}`; or a single
            layer, "h" and "c" to norms.
        axes: matplotlib axes, one for each of h and c, to which the caller adds a legend. None: a
            new figure with a legend.
        styles: label to properties of its line, such as `{"GRU": {"color": "black"}}`.

    Returns:
        The `matplotlib.figure.Figure`; its `savefig` writes it.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no layer.
    """
    flows = _by_label(flows)
    names = [name for name in ("h", "c") if any(name in layer for layer in flows.values())]
    panels = _new_axes(len(names)) if axes is None else list(axes)
    for panel, name in zip(panels, names, strict=True):
        for label, style in _styles(flows, styles).items():
            if name in flows[label]:
                norms = np.where(flows[label][name] > 0, flows[label][name], np.nan)
                panel.plot(np.arange(len(norms)), norms, label=label, **{"linewidth": 1.4, **style})
        panel.set_yscale("log")
        panel.set_title(f"loss gradient at the {TITLES[name]}", loc="left", fontsize="medium")
        panel.set_xlabel("time step t")
        panel.set_ylabel(f"‖∂L/∂{name}ₜ‖")
    return _finish(panels, legend=axes is None)


def _by_label(layers: Named | Mapping[str, np.ndarray]) -> Named:
    """Label to layer; a single layer without a label is labelled "layer"."""
    if not layers:
        raise ValueError("there is no layer to plot: the model has no recurrent layer")
    if any(isinstance(values, Mapping) for values in layers.values()):
        return cast(Named, layers)
    return {"layer": cast(Mapping[str, np.ndarray], layers)}


def _new_axes(count: int) -> list[Any]:
    figure_class = from_demo("matplotlib.figure").Figure
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = figure_class(figsize=(4.6 * columns, 2.6 * rows), layout="constrained", dpi=150)
    return [figure.add_subplot(rows, columns, n + 1) for n in range(count)]


def _finish(panels: list[Any], legend: bool) -> Any:
    handles: dict[str, Any] = {}
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(True, axis="y", linewidth=0.4, alpha=0.5)
        panel.margins(x=0.01)
        lines, labels = panel.get_legend_handles_labels()
        handles.update(zip(labels, lines, strict=True))
    if legend:
        figure = panels[0].figure
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False)
    return panels[0].figure
