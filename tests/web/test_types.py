"""`kgated.d.ts` compiles in strict mode, takes right programs and refuses wrong ones."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from npm_packages import npm_package

import kgated.web

VERSION = "5.9.3"  # of TypeScript
FOLDER = Path(kgated.web.__file__).parent / "assets" / "kgated"
PROGRAM = """
import {EventDetector, FrontEnd, KgatedError, Model, encode, load} from './kgated.js';

const model: Model = await load('model.tflite', {litert: new URL('https://localhost/litert/')});
if (!model.selftest().passed) throw new KgatedError('the self-test failed');
const output = model.step([0.1, 0.2, 0.3]);
const scores: Float32Array = output instanceof Float32Array ? output : output['scores'];
const {labels, sample_period_s: period, front_end: spec, vocabularies} = model.manifest;
const events = new EventDetector(labels ?? [], period ?? 0.01, model.manifest.events).step(scores);
const frames: Float32Array[] = spec ? new FrontEnd(spec).push(new Int16Array(160)) : [];
const ids = vocabularies ? encode(vocabularies['tokens'], 'yes') : new Int32Array();
for (const id of ids) model.step({tokens: id});
model.state = {...model.state, h: new Int8Array(4)};
model.reset();
console.log(frames.length, events.map(({label, end_s}) => `${label} ${end_s.toFixed(2)}`));
"""


@pytest.fixture(scope="module")
def compile_program(tmp_path_factory):
    """A function from a program to what the compiler says of it with the types."""
    folder = tmp_path_factory.mktemp("types")
    package = npm_package("typescript", VERSION, folder, "kgated.d.ts was NOT compiled")
    shutil.copy(FOLDER / "kgated.d.ts", folder)
    compiler = [package / "bin" / "tsc", "--noEmit", "--strict"]
    options = ["--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler"]

    def run(program):
        (folder / "program.ts").write_text(program)
        files = ["kgated.d.ts", "program.ts"]
        compiled = subprocess.run(
            [*compiler, *options, *files], cwd=folder, capture_output=True, text=True, timeout=300
        )
        return compiled.stdout

    return run


@pytest.mark.slow
def test_a_program_compiles_with_the_types(compile_program):
    assert compile_program(PROGRAM) == ""


@pytest.mark.slow
def test_each_wrong_line_is_refused(compile_program):
    lines = ["model.step('yes');", "model.manifest.labels = [];", "new Model();", "model.states;"]
    errors = compile_program(PROGRAM + "\n".join(lines))
    first = PROGRAM.count("\n") + 1
    assert {int(n) for n in re.findall(r"^program\.ts\((\d+),", errors, re.MULTILINE)} == {
        *range(first, first + len(lines))
    }
