"""A device has Python, NumPy and ai-edge-litert, and nothing of the workstation."""

import json
import subprocess
import sys

SHOW = """
import json, sys
before = set(sys.modules)
{imports}
added = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(added - set(sys.stdlib_module_names))))
"""


def added_by(imports):
    # -P: a folder named kgated_edge beside the tests must not pass for the package.
    command = [sys.executable, "-P", "-c", SHOW.format(imports=imports)]
    return set(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def test_imports_nothing_of_the_workstation():
    needed = added_by("import numpy, ai_edge_litert.interpreter")
    assert {"numpy", "ai_edge_litert"} <= needed
    everything = added_by("import kgated_edge, kgated_edge.cli.main")
    assert everything - needed == {"kgated_edge"}
    assert not everything & {"tensorflow", "keras", "kgated", "torch", "jax", "scipy"}


def test_the_test_sees_an_import():
    assert "pytest" in added_by("import pytest")
