"""A bill of materials in CycloneDX: what a distribution is installed with, by version."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from typing import Any

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement


def canonical(name: str) -> str:
    """A distribution's name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str) -> dict[str, Distribution]:
    """The installed distributions that one needs to run, without extras, with itself, by name.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    distributions: dict[str, Distribution] = {}
    waiting = [(name, frozenset[str]())]
    while waiting:
        current, extras = waiting.pop()
        distributions[canonical(current)] = installed = distribution(current)
        for requirement in _needed(installed, extras):
            if canonical(requirement.name) not in distributions:
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return dict(sorted(distributions.items()))


def _needed(installed: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for text in installed.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def bill_of_materials(name: str) -> bytes:
    """The bill of a distribution as CycloneDX JSON: the same bytes for the same installation."""
    distributions = closure(name)
    components = {key: _component(d) for key, d in distributions.items()}
    main = components.pop(canonical(name))
    bom = Bom(components=components.values())
    bom.metadata.component = main
    for key, installed in distributions.items():
        parent = main if key == canonical(name) else components[key]
        needed = {canonical(r.name) for r in _needed(installed, frozenset())}
        bom.register_dependency(parent, [components[k] for k in sorted(needed & components.keys())])
    return _without_time(
        make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    )


def _component(installed: Distribution) -> Component:
    name, version = installed.metadata["Name"], installed.version
    url = PackageURL("pypi", name=canonical(name), version=version)
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url)
    )


def _without_time(text: str) -> bytes:
    """Without the serial number and the time of writing, which differ from build to build."""
    document: dict[str, Any] = json.loads(text)
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
