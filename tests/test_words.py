"""Functions are short, and their variables are named for what they hold.

The rule holds in the product, in the tests and in the scripts.
"""

import ast

import pytest
import source_code

MAX_FUNCTION_LINES = 40
# Words that name everything and nothing: a report, ranges, a tensor, a manifest have names.
VAGUE = {
    *("alone", "found", "given", "hot", "joined", "kept", "least", "made", "met", "most", "one"),
    *("other", "ours", "seen", "share", "theirs", "told", "twin", "way_out", "whole", "wide"),
    "widened",
}


def files():
    """The product's modules by their names, and the files of the tests and of the scripts."""
    others = [
        p for folder in ("tests", "scripts") for p in (source_code.ROOT / folder).rglob("*.py")
    ]
    return source_code.modules() | {str(p.relative_to(source_code.ROOT)): p for p in others}


def functions(tree):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def lines_in(function):
    """Lines of a function with its signature, without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - (docstring.end_lineno - docstring.lineno + 1)


def names_in(function):
    """The name of a function, its parameters and its variables, without leading underscores."""
    names = [function.name]
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            names.append(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
    return {name.strip("_") for name in names}


def violations(tree):
    """What is wrong with the functions of a file."""
    for function in functions(tree):
        if (lines := lines_in(function)) > MAX_FUNCTION_LINES:
            yield f"{function.name} has {lines} lines"
        for name in sorted(names_in(function) & VAGUE):
            yield f"{function.name} uses the name {name}"


def test_functions_are_short_and_their_variables_have_names():
    trees = {name: source_code.syntax(path) for name, path in files().items()}
    assert sum(len(functions(tree)) for tree in trees.values()) > 3000
    assert not [f"{name}: {v}" for name, tree in trees.items() for v in violations(tree)]


@pytest.mark.parametrize(
    ("code", "violation"),
    [
        ("def f(x):\n    found = x", "f uses the name found"),
        ("def f(*, other): ...", "f uses the name other"),
        ("def f(x):\n    return [one for one in x]", "f uses the name one"),
        ("def _kept(x): ...", "_kept uses the name kept"),
        ("class A:\n    def f(self):\n        with a as made: ...", "f uses the name made"),
        ("def f():\n    '''Doc.'''\n" + "    x = 1\n" * 40, "f has 41 lines"),
    ],
)
def test_the_rule_sees_a_violation(code, violation):
    assert list(violations(ast.parse(code))) == [violation]


def test_the_rule_counts_no_docstring_and_takes_names_of_things():
    docstring = "    '''" + "Doc.\n" * 50 + "    '''\n"
    code = f"def f(report):\n{docstring}" + "    x = report.found\n" * 39
    assert not list(violations(ast.parse(code)))
