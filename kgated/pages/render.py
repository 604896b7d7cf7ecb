"""HTML pages from Jinja templates: each page is one file that needs no network."""

from importlib.resources import files
from typing import Any

from kgated.optional_imports import from_extra


def render_page(template: str, extra: str, /, **values: Any) -> str:
    """The page of a template as text.

    Args:
        template: "PACKAGE/FILE", of the folder `templates` of a package of `kgated`, such as
            "search/search.html". It may extend
            or include others by such names.
        extra: the extra that brings jinja2, for the message where it is missing.
        values: what the template shows. Their text is escaped, unless the template says `safe`.

    Raises:
        ImportError: jinja2 is missing.
    """
    jinja2 = from_extra("jinja2", extra)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return str(environment.get_template(template).render(**values))


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


def _source(template: str) -> str:
    package, _, name = template.rpartition("/")
    return files("kgated").joinpath(package, "templates", name).read_text("utf-8")
