"""The parts of a generated step: lines, loops and products, for one or for several sessions."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

STATE = "s"
"""The C name of the struct of the session that a line is for."""
_INDENT = "  "


@dataclass(frozen=True)
class Product:
    """A matrix-vector product, whose weights several sessions read at once.

    Attributes:
        kernel: "f32", "s8" or "s4"; by it the C functions `kg_dot_...` and `kg_dots_...`.
        weights: the arguments that are the same for all sessions.
        x: address of the input; with a range, of its integers.
        result: address of the sums, or of the result in float.
        more: the C expression that a session adds: its zero point, or the address of its bias.
        size: rows and columns, as arguments.
        quantized: of what is quantized anew, the C expression of the range; else empty.
        before, after: the lines of a session around the product; `{range}` is its range.
    """

    kernel: str
    weights: str
    x: str
    result: str
    more: str
    size: str
    quantized: str = ""
    before: Sequence[str] = field(default=())
    after: Sequence[str] = field(default=())

    def single_lines(self) -> Iterator[str]:
        """The lines for one session."""
        yield "{"
        if self.quantized:
            yield f"{_INDENT}const kg_range range = {self.quantized};"
        yield from (_INDENT + line for line in self.before)
        ends = f"{self.x}, {self._more('range')}, {self.result}, {self.size}"
        turn = "" if self.kernel == "f32" else f", {STATE}->turn"
        yield f"{_INDENT}kg_dot_{self.kernel}({self.weights}, {ends}{turn});"
        yield from (_INDENT + line.format(range="range") for line in self.after)
        yield "}"

    def session_lines(self, ports: Mapping[str, str]) -> Iterator[str]:
        """The lines for several sessions."""
        source, target, more = _TYPES[self.kernel]
        yield "{"
        zero = "NULL" if more.endswith("*") else "0"
        yield f"{_INDENT}{source}from[KG_TOGETHER] = {{NULL}};"
        yield f"{_INDENT}{target}to[KG_TOGETHER] = {{NULL}};"
        yield f"{_INDENT}{more}more[KG_TOGETHER] = {{{zero}}};"
        if self.quantized:
            yield f"{_INDENT}kg_range ranges[KG_TOGETHER] = {{{{1.0f, 0}}}};"
        prepare = [f"ranges[row] = {self.quantized};"] if self.quantized else []
        prepare += [*self.before, f"from[row] = {self.x};", f"to[row] = {self.result};"]
        prepare += [f"more[row] = {self._more('ranges[row]')};"]
        yield from (_INDENT + line for line in each_session(prepare, ports))
        turn = "" if self.kernel == "f32" else ", rows->turn"
        ends = f"{self.size}{turn}, count"
        yield f"{_INDENT}kg_dots_{self.kernel}({self.weights}, from, more, to, {ends});"
        after = [line.format(range="ranges[row]") for line in self.after]
        yield from (_INDENT + line for line in each_session(after, ports))
        yield "}"

    def _more(self, name: str) -> str:
        return self.more.format(range=name)


@dataclass(frozen=True)
class Loop:
    """A loop around products.

    Attributes:
        head: as in "for (...)".
        body: what runs in it.
    """

    head: str
    body: "list[Node]"


Node: TypeAlias = str | Product | Loop
_TYPES = {
    "f32": ("const float *", "float *", "const float *"),
    **dict.fromkeys(("s8", "s4"), ("const int8_t *", "int32_t *", "int32_t ")),
}
"""The C types of input address, result address and addend of a session, by kernel."""


def single_lines(nodes: Iterable[Node]) -> list[str]:
    """The lines of one session's step."""
    lines: list[str] = []
    for node in nodes:
        if isinstance(node, Loop):
            lines += [f"{node.head} {{", *(_INDENT + line for line in single_lines(node.body)), "}"]
        else:
            lines += [node] if isinstance(node, str) else node.single_lines()
    return lines


def session_lines(nodes: Iterable[Node], ports: Mapping[str, str]) -> list[str]:
    """The lines of a step of `count` sessions, each of which has its row of `rows`.

    Args:
        nodes: the parts of the step.
        ports: the declaration of one session's input or output, by its C name.
    """
    lines: list[str] = []
    pending: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            pending.append(node)
            continue
        lines += each_session(pending, ports)
        pending = []
        if isinstance(node, Loop):
            body = (_INDENT + line for line in session_lines(node.body, ports))
            lines += [f"{node.head} {{", *body, "}"]
        else:
            lines += node.session_lines(ports)
    return lines + each_session(pending, ports)


def each_session(lines: Sequence[str], ports: Mapping[str, str]) -> list[str]:
    """A loop over the sessions with these lines."""
    if not lines:
        return []
    text = "\n".join(lines)
    head = [f"KG_SESSION *const {STATE} = rows + row;"] if f"{STATE}->" in text else []
    head += [text_of for name, text_of in ports.items() if re.search(rf"\b{name}\b", text)]
    body = (_INDENT + line for line in (*head, *lines))
    return ["for (size_t row = 0; row < count; ++row) {", *body, "}"]
