"""Hooks of mkdocs: pages that are generated, or that stand outside of docs/."""

import posixpath
import re
from pathlib import Path
from typing import Any

import jupytext
from docs_site import commands, reference
from pymdownx.slugs import slugify

ROOT = Path(__file__).parents[1]
# Files outside of docs/ and their place in the site.
OUTSIDE = {
    "edge/README.md": "edge.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
}
TUTORIALS = "tutorials"
LINK = re.compile(r"(\]\()([^)\s#]+\.md)((?:#[^)\s]*)?\))")


def on_config(config: Any) -> Any:
    """Give headings the anchors that GitHub gives them."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages and the notebooks of the tutorials."""
    from mkdocs.structure.files import File

    def add(path: str, content: str) -> None:
        files.append(File.generated(config, path, content=content))

    for outside, place in OUTSIDE.items():
        add(place, moved((ROOT / outside).read_text(), outside, place))
    add("reference/commands.md", commands.workstation_page())
    add("reference/edge-commands.md", commands.edge_page())
    for package in reference.PACKAGES:
        add(f"reference/{reference.file_name(package)}", reference.page(package))
    for file in list(files):
        source = Path(file.src_uri)
        if str(source.parent) == TUTORIALS and source.suffix == ".md" and source.stem != "index":
            notebook = jupytext.read(Path(file.abs_src_path))
            add(file.src_uri.replace(".md", ".ipynb"), jupytext.writes(notebook, fmt="ipynb"))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to files outside of docs/ at their pages; offer a tutorial's notebook."""
    path = page.file.src_uri
    if path.startswith(f"{TUTORIALS}/") and "jupytext" in page.meta:
        name = posixpath.basename(path).replace(".md", ".ipynb")
        markdown = markdown.replace("\n", f"\n\n[Download this page as a notebook]({name})\n", 1)
    return moved(markdown, f"docs/{path}", path) if path not in OUTSIDE.values() else markdown


def moved(text: str, source: str, path: str) -> str:
    """A page's text with its links as they are in the site.

    Args:
        text: the page, with links between files of the repository.
        source: the page's file in the repository.
        path: its place in the site.
    """

    def replace(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        place = OUTSIDE.get(target, target.removeprefix("docs/"))
        if "://" in match[2] or (place == target and not target.startswith("docs/")):
            return match[0]
        return match[1] + posixpath.relpath(place, posixpath.dirname(path) or ".") + match[3]

    return LINK.sub(replace, text)
