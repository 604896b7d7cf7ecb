"""The layout of the code: what may import what, and where a rule has its one place."""

import ast
import subprocess
import sys

import pytest
import source_code
from source_code import ROOT, arrows, arrows_within, circle, modules, syntax
from stages import STAGES

# What each distribution may import of the others.
DISTRIBUTIONS = {
    "kgated_worker": {"kgated_edge"},
    "kgated_edge": set(),
    "kgated": {"kgated_worker", "kgated_edge"},
    "kgated_cli": {"kgated", "kgated_worker", "kgated_edge"},
}
STARTS_THE_COMMAND = "kgated.__main__"
ON_DEVICE = {"kgated_edge", "numpy", "ai_edge_litert"} | sys.stdlib_module_names
# The only module of the device half that needs an extra, when a signature is checked.
CHECKS_SIGNATURES = "kgated_edge.signing.ed25519"
ROOT_FILES = {"kgated.deploy": 8, "kgated_edge": 4}
MAX_LINES = 300
CODE = ("kgated", "kgated_cli", "edge", "scripts", "tests")
# The only files with private names of Keras, and of tf_keras.
ADAPTERS = {
    "kgated.keras_internals.graph",
    "kgated.keras_internals.patches",
    "kgated.keras_internals.training",
    "kgated.interop.tf_keras.models",
}


def rank_of(stages):
    """The line of each part in one text of `STAGES`."""
    lines = [line.split() for line in stages.split("\n") if line.strip()]
    return {part: n for n, line in enumerate(lines) for part in line}


def points_back(source, target, ranks):
    """Whether a part imports what does not stand before it; `__init__` stands behind all."""
    last = {**ranks, "__init__": len(ranks)}
    return last[source] <= last[target]


@pytest.mark.parametrize("package", STAGES)
def test_every_part_of_a_package_has_a_stage(package):
    parts = {source_code.child(module, package) for module in modules()} - {None, "__init__"}
    assert parts == set(rank_of(STAGES[package]))


@pytest.mark.parametrize("package", STAGES)
def test_a_stage_imports_only_earlier_stages(package):
    ranks = rank_of(STAGES[package])
    between = list(arrows_within(package, arrows()))
    assert len(between) > 5
    wrong = [f"{a} imports {b}" for x, y, a, b in between if points_back(x, y, ranks)]
    assert not wrong


def test_the_rule_sees_an_import_of_a_later_stage():
    ranks = rank_of(STAGES["kgated.deploy"])
    assert points_back("tflite", "quantization", ranks)
    assert points_back("lowering", "quantization", ranks)  # in one line
    assert points_back("tflite", "__init__", ranks)
    assert not points_back("convert", "recipe", ranks)
    assert not points_back("__init__", "convert", ranks)
    tree = ast.parse("def late():\n    from kgated.deploy import convert")
    targets = source_code.dependencies(tree, modules())
    planted = [("kgated.deploy.tflite.cleanup", target) for target in targets]
    ((source, target, *_),) = arrows_within("kgated.deploy", planted)
    assert (source, target) == ("tflite", "convert")


@pytest.mark.parametrize("package", DISTRIBUTIONS)
def test_the_packages_depend_on_one_another_in_one_direction(package):
    tops = {
        target.split(".")[0]
        for source, target in arrows()
        if source.split(".")[0] == package and source != STARTS_THE_COMMAND
    }
    assert tops - {package} <= DISTRIBUTIONS[package]


@pytest.mark.parametrize(
    "code",
    ["import kgated_cli.convert", "run('kgated_cli')", "JOB = 'kgated_cli.convert:command'"],
)
def test_the_rule_sees_a_dependency_on_the_command_line_also_in_a_string(code):
    targets = source_code.dependencies(ast.parse(code), modules())
    assert {name.split(".")[0] for name in targets} == {"kgated_cli"}


def test_no_package_has_a_circle_among_its_parts():
    packages = {name.rpartition(".")[0] for name in modules()} - {""}
    assert len(packages) > 20
    for package in packages:
        edges = [(a, b) for a, b, *_ in arrows_within(package, arrows())]
        assert circle(edges) is None, package


def test_the_rule_sees_a_circle():
    assert circle([("a", "b"), ("b", "c")]) is None
    assert set(circle([("a", "b"), ("b", "c"), ("c", "a")])) == {"a", "b", "c"}


@pytest.mark.parametrize("package", ROOT_FILES)
def test_few_files_are_in_the_root_of_a_package(package):
    files = sorted(path.name for path in modules()[package].parent.glob("*.py"))
    assert len(files) <= ROOT_FILES[package], files


def test_no_test_file_imports_another():
    paths = list((ROOT / "tests").rglob("test_*.py"))
    wrong = [
        f"{path} imports {name}"
        for path in paths
        for name in source_code.imports(syntax(path))
        if name.split(".")[-1].startswith("test_") and "kgated" not in name
    ]
    assert len(paths) > 100
    assert not wrong


def test_no_file_is_too_long_to_read_in_one_go():
    paths = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 300
    long = {str(p.relative_to(ROOT)): n for p in paths if (n := lines_in(p)) > MAX_LINES}
    assert not long


def lines_in(path):
    return len(path.read_text().splitlines())


def test_the_rule_sees_a_long_file(tmp_path):
    path = tmp_path / "long.py"
    path.write_text("x = 1\n" * (MAX_LINES + 1))
    assert lines_in(path) > MAX_LINES


def test_private_names_of_other_packages_are_only_in_their_adapters():
    trees = {module: syntax(path) for module, path in modules().items()}
    own = set().union(*map(source_code.defined_names, trees.values()))
    names = {module: set(source_code.private_names(tree, own)) for module, tree in trees.items()}
    assert all(names[module] for module in ADAPTERS), "an adapter without such names needs no row"
    assert not {module: n for module, n in names.items() if n and module not in ADAPTERS}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("layer._inbound_nodes", "_inbound_nodes"),
        ("optimizer._clip_gradients = clip", "_clip_gradients"),
        ("class Mine(Layer):\n    def f(self):\n        self._flatten_layers()", "_flatten_layers"),
        ("getattr(x, '_keras_history')", "_keras_history"),
        ("from tensorflow.python.eager import context", "tensorflow.python.eager"),
        ("from keras._internal import nodes", "keras._internal"),
    ],
)
def test_the_rule_sees_a_private_name(code, name):
    tree = ast.parse(code)
    assert name in source_code.private_names(tree, source_code.defined_names(tree))


def test_the_rule_takes_private_names_of_our_own():
    code = "class A:\n    def f(self, other):\n        self._x = other._x\nrow._replace(a=1)"
    tree = ast.parse(code)
    assert not list(source_code.private_names(tree, source_code.defined_names(tree)))


def shadowed(tree, package, known):
    """Names that a package's `__init__` binds over a module of its own with the same name."""
    bound = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bound |= dict.fromkeys(source_code.defined_names(tree), "")
    return sorted(n for n, source in bound.items() if source != f"{package}.{n}" in known)


def test_no_function_hides_a_module_of_its_package():
    for package, path in modules().items():
        if path.name == "__init__.py":
            assert not shadowed(syntax(path), package, modules()), package


def test_the_rule_sees_a_function_that_hides_a_module():
    known = {"kgated_edge.check": None}
    tree = ast.parse("from kgated_edge.check import check")
    assert shadowed(tree, "kgated_edge", known) == ["check"]
    assert not shadowed(ast.parse("from kgated_edge import check"), "kgated_edge", known)


def test_the_device_half_imports_nothing_heavy():
    device = [syntax(p) for name, p in modules().items() if name.startswith("kgated_edge")]
    assert len(device) > 30
    assert {
        name.split(".")[0] for tree in device for name in source_code.imports(tree)
    } <= ON_DEVICE | {"cryptography"}


def test_one_module_of_the_device_half_imports_cryptography_and_only_in_functions():
    tops = {
        module: {name.split(".")[0] for name in source_code.imports(syntax(path))}
        for module, path in modules().items()
        if module.startswith("kgated_edge")
    }
    assert [m for m, names in tops.items() if "cryptography" in names] == [CHECKS_SIGNATURES]
    body = syntax(modules()[CHECKS_SIGNATURES]).body
    at_import = ast.Module([node for node in body if not isinstance(node, ast.FunctionDef)], [])
    assert "cryptography" not in str(list(source_code.imports(at_import)))


@pytest.mark.parametrize("module", ["kgated_edge", "kgated_cli", "kgated_worker"])
def test_light_modules_stay_light_when_imported(module):
    loaded = loaded_by(module)
    assert module in loaded
    assert not loaded & {"keras", "tensorflow", "jax", "torch", "kgated"}


def test_the_layers_need_keras_alone():
    assert not loaded_by("kgated") & {"ai_edge_quantizer", "ai_edge_litert", "kgated_edge"}


def loaded_by(module):
    """The top-level modules that are there after one import in a new process."""
    code = f"import sys, {module}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(run.stdout.split())
