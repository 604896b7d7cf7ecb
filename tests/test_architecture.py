"""The direction of imports, as data: an arrow that points back fails here."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A module may import from its own row and from the rows above it.
ROWS = [
    {"audio", "errors", "atomic_write", "optional_imports", "keras_graph", "kgated_worker"}
    | {"inference_copies"},
    {"report"},
    {"steps"},
    {"cells"},
    {"layers"},
    {"data", "framewise"},
    {"interop", "inspection", "training"},
    {"models"},
    {"optimize"},
    {"deploy"},
    {"mixed_precision"},
    {"compare"},
    {"kgated_cli", "__main__"},
]
OFFERS = {"__init__"}  # the package's own front door names what it offers
ON_DEVICE = {"kgated_edge", "numpy", "ai_edge_litert"} | sys.stdlib_module_names


def house(path):
    """The part of the product that a file belongs to, such as `deploy`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "kgated" else parts[0]


def imports(path):
    """Every module that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by the full name"
            yield node.module
            if node.module == "kgated":
                yield from (f"kgated.{alias.name}" for alias in node.names)


def row(name):
    found = [n for n, names in enumerate(ROWS) if name in names]
    assert found, f"{name} has no row in the list above: decide where it belongs"
    return found[0]


def arrows():
    files = [
        *(ROOT / "kgated").rglob("*.py"),
        *(ROOT / "kgated_cli").rglob("*.py"),
        ROOT / "kgated_worker.py",
    ]
    for path in files:
        for module in imports(path):
            parts = module.split(".")
            if parts[0] == "kgated" and len(parts) > 1 and house(path) not in OFFERS:
                yield path, house(path), parts[1]


def backward(source, target):
    known = {name for names in ROWS for name in names}
    return target in known and row(source) < row(target)


def test_no_import_points_back():
    found = [f"{path}: {a} imports {b}" for path, a, b in arrows() if backward(a, b)]
    assert not found


def test_the_rule_sees_an_arrow_that_points_back():
    assert backward("steps", "layers")
    assert not backward("deploy", "layers")
    assert any(target == "steps" for _, _, target in arrows())


def test_the_device_half_imports_nothing_heavy():
    files = list((ROOT / "edge" / "kgated_edge").rglob("*.py"))
    assert files
    tops = {module.split(".")[0] for path in files for module in imports(path)}
    assert tops <= ON_DEVICE


@pytest.mark.parametrize("module", ["kgated_edge", "kgated_cli", "kgated_worker"])
def test_light_modules_stay_light_when_imported(module):
    code = f"import sys, {module}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(run.stdout.split())
    assert module in loaded
    assert not loaded & {"keras", "tensorflow", "jax", "torch", "kgated"}


def test_the_layers_need_keras_alone():
    code = "import sys, kgated; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not set(run.stdout.split()) & {"ai_edge_quantizer", "ai_edge_litert", "kgated_edge"}


PRIVATE = re.compile(
    r"\._(flatten_layers|run_through_graph|keras_history|inbound_nodes|outbound_nodes|"
    r"clip_gradients|operations)\b"
)


def test_private_names_of_keras_are_in_one_module():
    files = [*(ROOT / "kgated").rglob("*.py"), *(ROOT / "kgated_cli").rglob("*.py")]
    users = {path.name for path in files if PRIVATE.search(path.read_text())}
    assert users == {"keras_graph.py"}
