"""A description of a file for a person."""

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from kgated.deploy.inspect import Description, Tensor, manifest_facts


def show(found: Description, console: Console) -> None:
    """Print sizes, signatures, operators, and the manifest where there is one."""
    sizes = ", ".join(f"{kind} {_kib(size)}" for kind, size in found.weight_bytes.items())
    console.print(f"{found.path}: {_kib(found.file_bytes)}; constants: {sizes or 'none'}")
    console.print(_tensors(found))
    counts = ", ".join(f"{count} {name}" for name, count in found.operators.items())
    console.print(f"operators: {counts or 'none'}\n")
    if found.manifest is None:
        console.print("manifest: none; the file was not made by `kgated convert`")
        return
    table = Table("manifest", box=SIMPLE)
    table.add_column(_kib(found.manifest_bytes), overflow="fold")
    for name, value in manifest_facts(found.manifest).items():
        table.add_row(name, _text(value))
    console.print(table)


def _tensors(found: Description) -> Table:
    states = {state.name for state in found.manifest.states} if found.manifest else set()
    table = Table("signature", box=SIMPLE)
    table.add_column("tensor", overflow="fold")
    for name in ("", "dtype", "shape", "scale, zero point"):
        table.add_column(name)
    for one in found.signatures:
        for kind, tensors in (("in", one.inputs), ("out", one.outputs)):
            for tensor in tensors:
                role = f"state {kind}" if tensor.name in states else kind
                table.add_row(one.name, tensor.name, role, *_cells(tensor))
    return table


def _cells(tensor: Tensor) -> tuple[str, ...]:
    quantized = "" if tensor.scale is None else f"{tensor.scale:.6g}, {tensor.zero_point}"
    shape = " x ".join(map(str, tensor.shape)) or "scalar"
    return tensor.dtype, shape, quantized


def _text(value: object) -> str:
    if isinstance(value, dict):
        known = {name: one for name, one in value.items() if one is not None}
        return ", ".join(f"{name} {_text(one)}" for name, one in known.items())
    if isinstance(value, list):
        between = "; " if any(isinstance(one, dict) for one in value) else ", "
        numbers = value and all(isinstance(one, int) for one in value)
        return (" x " if numbers else between).join(map(_text, value)) or "none"
    return "none" if value is None else str(value)


def _kib(size: int) -> str:
    return f"{size / 1024:.1f} KiB"
