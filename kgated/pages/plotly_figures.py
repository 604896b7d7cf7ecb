"""Interactive charts by Plotly, as elements of an HTML page."""

from typing import Any

from kgated.optional_imports import from_extra

_AXIS = {"gridcolor": "#e5e5e5", "linecolor": "#999", "zeroline": False, "automargin": True}


def empty_figure(x: dict[str, Any], y: dict[str, Any], **layout: Any) -> Any:
    """A figure without traces, in the style of the pages.

    Args:
        x: options of Plotly's horizontal axis, such as its title.
        y: options of the vertical axis.
        layout: more options of Plotly's layout.

    Raises:
        ImportError: plotly, of the extra `report`, is missing.
    """
    figure = from_extra("plotly.graph_objects", "report").Figure()
    figure.update_layout(
        template="none",
        xaxis=_AXIS | x,
        yaxis=_AXIS | y,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
        **layout,
    )
    return figure


def plot_html(figure: Any, name: str, height: str = "360px") -> str:
    """A figure of plotly as HTML, for a page that has plotly's script.

    Args:
        figure: a `plotly.graph_objects.Figure`.
        name: the id of its element.
        height: such as "360px".
    """
    config = {"responsive": True, "displaylogo": False}
    html = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        default_height=height,
        config=config,
    )
    return str(html)


def plotly_script() -> str:
    """The script that the figures of a page need.

    Raises:
        ImportError: plotly, of the extra `report`, is missing.
    """
    return str(from_extra("plotly.offline", "report").get_plotlyjs())
