/**
 * Runs a streaming `.tflite` file of kgated in a browser: one frame per call, the state carried.
 *
 * @example
 *   import {load} from './kgated/kgated.js';
 *   const model = await load('model.tflite');
 *   const output = model.step(frame); // Float32Array
 *   model.reset();
 */

import {KgatedError} from './errors.js';
import {loadRuntime, Program} from './litert.js';
import {
  dequantize,
  emptyArray,
  formOf,
  isQuantized,
  quantize,
  sizeOf,
  viewOf,
} from './tensors.js';
import {readManifest} from './tflite_file.js';

export {EventDetector} from './events.js';
export {FrontEnd} from './front_end.js';
export {Resampler} from './resample.js';
export {encode} from './vocabulary.js';
export {KgatedError};

const LITERT_FOLDER = new URL('../litert/', import.meta.url).href;

/**
 * Loads a model file and checks it.
 * @param {string|URL|ArrayBuffer|Uint8Array} source Its URL, or its bytes.
 * @param {{litert?: string|URL}} [options] `litert`: the folder of LiteRT.js's WebAssembly.
 * @returns {Promise<Model>}
 * @throws {KgatedError} It does not run here; the message says why and what to do.
 */
export async function load(source, {litert = LITERT_FOLDER} = {}) {
  const bytes = await bytesOf(source);
  const manifest = await readManifest(bytes);
  const runtime = await loadRuntime(new URL(litert, globalThis.location?.href).href);
  return new Model(manifest, await Program.compile(runtime, bytes));
}

async function bytesOf(source) {
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  const response = await fetch(source);
  if (!response.ok) throw new KgatedError(`${source}: ${response.status}: check the address`);
  return new Uint8Array(await response.arrayBuffer());
}

/** A model with its state. */
export class Model {
  #program;
  #step;
  #reset = null;
  #inputs;
  #outputs;

  constructor(manifest, program) {
    this.manifest = manifest;
    this.#program = program;
    this.#inputs = manifest.frames.map((spec) => inputOf(spec, manifest.frames_per_step));
    this.#outputs = manifest.outputs;
    const states = manifest.states.map((spec) => formOf(spec));
    const results = this.#outputs.map((spec) => formOf(spec, manifest.results_per_step));
    const frames = this.#inputs.map((input) => formOf(input.spec, input.rows));
    this.#step = program.bind(manifest.signature, [...frames, ...states], [...results, ...states]);
    if (manifest.state === 'internal') {
      this.#reset = program.bind('reset', [], [{name: 'done', dtype: 'float32', bytes: 4}]);
    }
    this.reset();
  }

  /**
   * Runs one frame, or one block of `manifest.frames_per_step` frames, and updates the state.
   * @param {ArrayLike<number>|number|Record<string, ArrayLike<number>|number>} frame Flat, frame by
   *     frame; a number for a token; with several inputs an object.
   * @returns {Float32Array|Record<string, Float32Array>} New; with several outputs an object.
   * @throws {KgatedError} Wrong size, NaN, inf, or no token; the state is as before.
   */
  step(frame) {
    const frames = this.#inputs.length === 1 ? {[this.#inputs[0].spec.name]: frame} : frame;
    const stored = this.#inputs.map((input) => storedFrame(input, frames?.[input.spec.name]));
    stored.forEach((array, n) => this.#write(this.#inputs[n].spec.name, array));
    this.#step.run();
    for (const {name} of this.manifest.states) this.#step.carry(name);
    const results = this.#outputs.map((spec) => [spec.name, this.#result(spec)]);
    return results.length === 1 ? results[0][1] : Object.fromEntries(results);
  }

  /** Sets all states to zero, as at the start of a sequence. */
  reset() {
    for (const spec of this.manifest.states) {
      this.#write(spec.name, emptyArray(spec.dtype, sizeOf(spec)).fill(spec.zero_point ?? 0));
    }
    this.#reset?.run();
  }

  /**
   * Whether no state holds NaN or inf, which a frame of huge numbers can cause: every later result
   * is NaN then, until `reset`.
   * @returns {boolean}
   */
  get hasFiniteState() {
    return Object.values(this.state).every((array) => array.every(Number.isFinite));
  }

  /** @returns {Record<string, any>} A copy of each state by name, as stored; it can be assigned. */
  get state() {
    this.#checkExternal();
    const read = (spec) => [spec.name, viewOf(this.#step.readInput(spec.name), spec.dtype)];
    return Object.fromEntries(this.manifest.states.map(read));
  }

  set state(values) {
    this.#checkExternal();
    const arrays = this.manifest.states.map((spec) => checkedState(spec, values[spec.name]));
    this.manifest.states.forEach((spec, n) => this.#write(spec.name, arrays[n]));
  }

  /**
   * Runs the golden frames; resets before and after.
   * @returns {{passed: boolean, maxError: number, tolerance: number, results: number}}
   */
  selftest() {
    const {golden} = this.manifest;
    const rows = this.#goldenRows();
    let [maxError, results] = [0, 0];
    for (const spec of this.#outputs) {
      const expected = golden.outputs[spec.name];
      const actual = rows[spec.name].slice(-expected.length);
      results += expected.length / sizeOf(spec);
      for (let n = 0; n < expected.length; n++) {
        const error = Math.abs(actual[n] - expected[n]);
        if (!(error <= maxError)) maxError = error; // NaN too
      }
    }
    return {passed: maxError <= golden.tolerance, maxError, tolerance: golden.tolerance, results};
  }

  /** The golden frames as arguments of `step`. */
  goldenSteps() {
    const {frames} = this.manifest.golden;
    const size = ({spec, rows}) => rows * sizeOf(spec);
    const count = frames[this.#inputs[0].spec.name].length / size(this.#inputs[0]);
    return Array.from({length: count}, (_, n) => {
      const block = (input) =>
        frames[input.spec.name].slice(n * size(input), (n + 1) * size(input));
      const blocks = this.#inputs.map((input) => [input.spec.name, block(input)]);
      return blocks.length === 1 ? blocks[0][1] : Object.fromEntries(blocks);
    });
  }

  /** Frees the memory of the model in WebAssembly. */
  delete() {
    this.#step.delete();
    this.#reset?.delete();
    this.#program.delete();
  }

  #goldenRows() {
    const rows = Object.fromEntries(this.#outputs.map((spec) => [spec.name, []]));
    this.reset();
    for (const frame of this.goldenSteps()) {
      const result = this.step(frame);
      for (const {name} of this.#outputs) {
        rows[name].push(this.#outputs.length === 1 ? result : result[name]);
      }
    }
    this.reset();
    // A vocabulary is more numbers than a function has arguments, such as `push`.
    return Object.fromEntries(Object.entries(rows).map(([name, parts]) => [name, flat(parts)]));
  }

  #result(spec) {
    const stored = viewOf(this.#step.readOutput(spec.name), spec.dtype);
    return isQuantized(spec) ? dequantize(stored, spec) : stored;
  }

  #write(name, array) {
    this.#step.write(name, new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  }

  #checkExternal() {
    if (this.manifest.state !== 'external') {
      throw new KgatedError('the state is inside the file: convert it with `--state external`');
    }
  }
}

/** The numbers of several arrays in one. */
function flat(parts) {
  const numbers = new Float32Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (numbers.set(part, at), at + part.length), 0);
  return numbers;
}

const inputOf = (spec, rows) => ({spec, rows, length: rows * sizeOf(spec)});

/** The array to write into an input tensor, or an error before anything has changed. */
function storedFrame({spec, length}, frame) {
  const values = typeof frame === 'number' ? [frame] : frame;
  if (!values || values.length !== length) {
    const got = values ? `${values.length}` : typeof frame;
    throw new KgatedError(`frame '${spec.name}' must hold ${length} numbers, got ${got}`);
  }
  if (spec.dtype === 'int32') return storedTokens(spec, values);
  const floats = Float32Array.from(values);
  if (!floats.every(Number.isFinite)) {
    throw new KgatedError(`frame '${spec.name}' has NaN or inf: leave it out`);
  }
  return isQuantized(spec) ? quantize(floats, spec) : floats;
}

function storedTokens(spec, values) {
  const isToken = (value) => Number.isInteger(value) && value >= 0 && value < spec.vocabulary;
  if (!Array.prototype.every.call(values, isToken)) {
    throw new KgatedError(`frame '${spec.name}' must hold tokens 0..${spec.vocabulary - 1}`);
  }
  return Int32Array.from(values);
}

function checkedState(spec, value) {
  const empty = emptyArray(spec.dtype, sizeOf(spec));
  const fits = value?.constructor === empty.constructor && value.length === empty.length;
  if (!fits || !value.every(Number.isFinite)) {
    throw new KgatedError(`state '${spec.name}' must be what \`state\` of the same file returned`);
  }
  return value;
}
