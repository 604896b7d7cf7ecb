"""`kgated.js` in Chromium computes what the runner computes, step by step."""

import re

import numpy as np
import pytest
from kgated_edge import EdgeModel
from kgated_edge.runtime.batching import as_dict, split_steps

MODELS = ("speech", "inside", "int8", "int16x8", "text", "blocks", "events", "block")
RECIPES = ("none", "float16", "dynamic", "dynamic4", "int8", "int16x8", "internal")
STEPS = 40
RUN = """
    const model = await m.load(`/${name}.tflite`);
    const outputs = steps.map(frame => model.step(frame));
    const plain = x => x.length === undefined ? Object.fromEntries(
        Object.entries(x).map(([k, v]) => [k, Array.from(v)])) : {[first]: Array.from(x)};
    const state = model.manifest.state === "external" ? plain(model.state) : null;
    model.reset();
    const again = plain(model.step(steps[0]));
    model.delete();
    return {outputs: outputs.map(plain), state, again};
"""


def frames_of(manifest, rng):
    """Random frames for all inputs, (T, *frame)."""
    count = STEPS * manifest.frames_per_step
    arrays = {}
    for spec in manifest.frames:
        if spec.is_token:
            arrays[spec.name] = rng.integers(spec.vocabulary, size=count).astype(np.int32)
        else:
            arrays[spec.name] = rng.normal(0, 1.5, (count, *spec.shape)).astype(np.float32)
    return arrays


def flat(manifest, block):
    """The argument of the browser's `step`."""
    arrays = {name: np.ravel(array) for name, array in as_dict(manifest.frames, block).items()}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def largest_difference(expected, actual):
    return float(np.abs(np.ravel(expected).astype(np.float64) - np.ravel(actual)).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *(f"stream-{recipe}" for recipe in RECIPES)])
def test_every_recipe_computes_what_the_runner_computes(run_js, model_file, rng, name):
    model = EdgeModel(model_file(name))
    manifest = model.manifest
    frames = frames_of(manifest, rng)
    blocks = split_steps(
        manifest.frames,
        manifest.frames_per_step,
        frames if len(frames) > 1 else frames.popitem()[1],
    )
    first = manifest.outputs[0].name
    steps = [flat(manifest, block) for block in blocks]
    result = run_js(RUN, "kgated", name=name, steps=steps, first=first)
    # Quantized outputs are equal; float ones are rounded by another instruction set.
    tolerance = 1e-5 if manifest.outputs[0].dtype == "float32" else 0
    changes = 0.0
    for block, actual in zip(blocks, result["outputs"], strict=True):
        expected = as_dict(manifest.outputs, model.step(block))
        for output, values in expected.items():
            assert largest_difference(values, actual[output]) <= tolerance
        changes = max(changes, largest_difference(expected[first], result["again"][first]))
    assert changes > 100 * max(tolerance, 1e-4)  # a state that stood still would show
    if manifest.state == "external":
        for state, values in model.state.items():
            assert largest_difference(values, result["state"][state]) <= tolerance
    model.reset()
    again = as_dict(manifest.outputs, model.step(blocks[0]))
    assert largest_difference(again[first], result["again"][first]) <= tolerance


@pytest.mark.slow
def test_the_state_can_be_assigned_and_a_refused_frame_changes_nothing(run_js, rng):
    frames = rng.normal(size=(6, 3)).astype(np.float32)
    body = """
        const model = await m.load("/speech.tflite");
        frames.slice(0, 3).forEach(frame => model.step(frame));
        const state = model.state;
        const expected = frames.slice(3).map(frame => Array.from(model.step(frame)));
        model.state = state;
        const refusals = [[1, 2], [1, NaN, 2], "text", null].map(frame => {
            try { model.step(frame); } catch (error) { return [error.name, error.message]; }
        });
        for (const wrong of [{}, {...state, lstm_h: new Float32Array(3)}]) {
            try { model.state = wrong; } catch (e) { refusals.push([e.name, e.message]); }
        }
        const actual = frames.slice(3).map(frame => Array.from(model.step(frame)));
        return {expected, actual, refusals};
    """
    result = run_js(body, "kgated", frames=frames)
    assert result["expected"] == result["actual"]
    kinds, messages = zip(*result["refusals"], strict=True)
    assert set(kinds) == {"KgatedError"}
    assert messages[0] == "frame 'frame' must hold 3 numbers, got 2"
    assert messages[1] == "frame 'frame' has NaN or inf: leave it out"
    assert len(messages) == 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["external", "internal", "result", "second"])
def test_a_run_recovers_from_nan_in_the_state(run_js, kind):
    """With a stand-in for a model whose state becomes NaN with a number of 1e30.

    kind: "external" or "internal" state; "result": NaN in the result alone; "second": in the
        state and in the second of two outputs.
    """
    body = """
        const {Session} = await import('/page/session.js');
        const real = await m.load('/speech.tflite');
        const isFinite = real.hasFiniteState;
        let [bad, resets] = [false, 0];
        const model = {
            manifest: {...real.manifest, state: kind === 'internal' ? kind : 'external'},
            step: (frame) => {
                bad = frame[0] > 1e20 || (bad && kind !== 'result');
                const values = new Float32Array(bad ? [NaN, Infinity] : 2);
                if (kind !== 'second') return bad ? values : real.step(frame);
                const first = real.manifest.outputs[0].name;
                return {[first]: real.step(bad ? [0, 0, 0] : frame), other: values};
            },
            reset: () => { bad = false; resets += 1; real.reset(); },
            get hasFiniteState() { return kind === 'result' || !bad; },
        };
        const session = new Session(model);
        session.push([[1, 2, 3], [1e30, 0, 0], [1, 2, 3]].map((x) => new Float32Array(x)));
        const steps = session.events.detector.time;
        return {isFinite, resets, count: session.notFinite, steps,
            rows: session.rows.map((row) => Array.from(row))};
    """
    result = run_js(body, "kgated", kind=kind)
    assert result["isFinite"]
    assert (result["count"], result["steps"]) == (1, 3)
    was_reset = kind != "result"
    assert result["resets"] == 1 + was_reset  # the first one is the session's own
    assert (result["rows"][2] == result["rows"][0]) == was_reset


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fused", 'variable tensors, such as those of lowering="fused"'),
        ("whole", "not a stream with a batch of 1"),
        ("missing", "404"),
        ("damaged", "its digest does not match"),
        ("cut", "the file is cut short or damaged"),
        ("plain", "this is not a TFLite file"),
    ],
)
def test_what_does_not_run_is_refused_by_name(run_js, site, model_file, name, words):
    content = model_file("speech").read_bytes()
    contents = {
        "damaged": content[:-40] + b"\1" + content[-39:],
        "cut": content[:900],
        "plain": b"no",
    }
    if name in contents:
        (site / f"{name}.tflite").write_bytes(contents[name])
    body = """
        try { await m.load(`/${name}.tflite`); } catch (e) { return [e.name, e.message]; }
    """
    kind, message = run_js(body, "kgated", name=name)
    assert kind == "KgatedError"
    assert words in message


@pytest.mark.slow
def test_the_types_name_what_the_module_has(run_js, site):
    types = (site / "kgated" / "kgated.d.ts").read_text()
    exported = set(re.findall(r"^export (?:class|function) (\w+)", types, re.MULTILINE))
    body = """
        const members = (type) => Object.getOwnPropertyNames(type.prototype);
        return [Object.keys(m), members(m.Model), members(m.FrontEnd), members(m.EventDetector)];
    """
    names, *members = run_js(body, "kgated")
    assert set(names) == exported
    for kind, present in zip(("Model", "FrontEnd", "EventDetector"), members, strict=True):
        text = types.split(f"export class {kind} ")[1].split("\n}")[0]
        declared = set(re.findall(r"^  (?:[gs]et )?(\w+)\(", text, re.MULTILINE))
        assert declared <= set(present)
        assert len(declared) >= 3


MANY_OUTPUTS = """
    const size = 200_000;
    const zeros = new Float32Array(size);
    const manifest = {
      frames: [{name: "frame", shape: [1], dtype: "float32"}],
      outputs: [{name: "output", shape: [size], dtype: "float32"}],
      states: [], state: "external", frames_per_step: 1, results_per_step: 1, sample_period_s: null,
      golden: {frames: {frame: Float32Array.of(1)}, outputs: {output: zeros}, tolerance: 0},
    };
    const program = {run() {}, write() {}, readOutput: () => new Uint8Array(4 * size)};
    const model = new m.Model(manifest, {bind: () => program});
    const {Session} = await import("/page/session.js");
    const session = new Session(model);
    session.push(Array.from({length: 150}, () => Float32Array.of(1)));
    return {...model.selftest(), count: session.count, rows: session.rows.length};
"""


@pytest.mark.slow
def test_a_vocabulary_of_outputs_fits_the_stack_and_the_memory(run_js):
    result = run_js(MANY_OUTPUTS, "kgated")
    assert (result["passed"], result["results"], result["count"]) == (True, 1, 150)
    assert 50 <= result["rows"] <= 100  # of 800 kB each
