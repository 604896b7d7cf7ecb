"""The Kotlin example is compiled, and runs on an interpreter in Java that has LiteRT's methods."""

import os
import subprocess
from pathlib import Path
from shutil import which

import pytest
from documents import ROOT
from npm_packages import npm_package

pytestmark = pytest.mark.slow
VERSION = "2.4.20"  # of Kotlin
EXAMPLE = ROOT / "docs" / "examples" / "Stream.kt"
JAVA = Path(__file__).parent / "litert_java"
SOURCE = os.environ.get("LITERT_SOURCE")
UNTESTED = "the Kotlin example was NOT compiled"


def run(*command):
    """What a command prints; its messages are in the error of a failure."""
    words = list(map(str, command))
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    """The folder of the Kotlin compiler."""
    if which("java") is None or which("javac") is None:
        pytest.skip(f"there is no Java: {UNTESTED}")
    return npm_package("kotlin-compiler", VERSION, tmp_path_factory.mktemp("kotlin"), UNTESTED)


def test_the_example_carries_states_and_quantizes(compiler, tmp_path):
    """Results are twice the sum of the frames since `reset`, in float32, int8 and int16."""
    java = sorted(JAVA.rglob("*.java"))
    run("bash", compiler / "bin" / "kotlinc", EXAMPLE, JAVA / "Main.kt", *java, "-d", tmp_path)
    run("javac", "-d", tmp_path, *java)
    library = compiler / "lib" / "kotlin-stdlib.jar"
    printed = run("java", "-cp", f"{tmp_path}{os.pathsep}{library}", "MainKt").splitlines()
    sequence = ["2.0 -4.0", "3.0 4.0", "9.0 10.0"]
    assert printed == 3 * [*sequence, *sequence, "a frame has 2 values, not 3"]


def test_the_example_compiles_with_the_sources_of_litert(compiler, tmp_path):
    if SOURCE is None:
        pytest.skip("no LITERT_SOURCE: the Kotlin example was NOT compiled with LiteRT's sources")
    package = Path("org", "tensorflow", "lite")
    own = Path(SOURCE, "litert/kotlin/src/copied_from_tflite/java") / package
    shared = Path(SOURCE, "tflite/java/src/main/java") / package
    java = [*own.glob("*.java"), shared / "DataType.java", shared / "Tensor.java"]
    assert len(java) > 4
    run("bash", compiler / "bin" / "kotlinc", EXAMPLE, *java, "-d", tmp_path)
    assert (tmp_path / "kgated" / "Stream.class").is_file()
