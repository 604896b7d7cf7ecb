"""HTML pages from Jinja templates: each page is one file that needs no network."""

from importlib.resources import files
from typing import Any

from kgated.optional_imports import from_extra


def render_page(template: str, extra: str, /, **values: Any) -> str:
    """The page of a template as text.

    Args:
        template: "PACKAGE/FILE", of the folder `templates` of a package of `kgated`, such as
            "search/search.html". It may extend or include others by such names; all pages extend
            "pages/base.html".
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


def _source(template: str) -> str:
    package, _, name = template.rpartition("/")
    return files("kgated").joinpath(package, "templates", name).read_text("utf-8")
