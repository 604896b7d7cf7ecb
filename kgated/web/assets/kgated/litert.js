/**
 * Runs a `.tflite` file with the WebAssembly of LiteRT.js (`@litertjs/core`), one signature at a time.
 *
 * The package's own wrapper is asynchronous, allocates each input anew and refuses int8 and int16
 * tensors. Here its WebAssembly is called directly: tensors are bound once, a step is synchronous.
 */

import {KgatedError} from './errors.js';

/** A module that uses an instruction of relaxed SIMD; browsers without it take the slower build. */
const RELAXED_SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15,
  65, 2, 253, 15, 253, 128, 2, 11,
]);
const ELEMENT_TYPES = {float32: 1, int32: 2, int16: 7, int8: 9};
const MAX_LOG_LINES = 20;
/** @type {Map<string, Promise<Runtime>>} */
const runtimes = new Map();

/**
 * @typedef {object} Runtime
 * @property {any} wasm The Emscripten module of LiteRT.js.
 * @property {any} environment Its environment, without a GPU.
 * @property {string[]} log The last lines that it logged.
 */

/**
 * Loads LiteRT.js once per folder.
 * @param {string} folder URL of the folder with its WebAssembly.
 * @returns {Promise<Runtime>}
 */
export function loadRuntime(folder) {
  if (!runtimes.has(folder)) {
    const loading = startRuntime(folder);
    loading.catch(() => runtimes.delete(folder));
    runtimes.set(folder, loading);
  }
  return runtimes.get(folder);
}

async function startRuntime(folder) {
  if (typeof document === 'undefined') {
    throw new KgatedError('LiteRT.js starts from a page: load the model there, not in a worker');
  }
  const name = WebAssembly.validate(RELAXED_SIMD) ? 'internal' : 'compat_internal';
  await runScript(new URL(`litert_wasm_${name}.js`, folder).href);
  const factory = self.ModuleFactory;
  self.ModuleFactory = undefined;
  const log = [];
  const remember = (line) => {
    log.push(line);
    log.splice(0, log.length - MAX_LOG_LINES);
  };
  const locateFile = (file) => new URL(file, folder).href;
  const wasm = await factory({locateFile, print: remember, printErr: remember});
  return {wasm, environment: wasm.LiteRtEnvironment.create(null), log};
}

function runScript(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = url;
    script.onload = () => resolve();
    script.onerror = () => reject(new KgatedError(`${url} does not load: copy LiteRT.js there`));
    document.head.append(script);
  });
}

/** A loaded model file. */
export class Program {
  /**
   * @param {Runtime} runtime
   * @param {Uint8Array} bytes The whole file.
   * @returns {Promise<Program>}
   */
  static async compile(runtime, bytes) {
    const program = new Program(runtime);
    try {
      await program.#compile(bytes);
    } catch (error) {
      program.delete();
      throw new KgatedError(`LiteRT.js does not load this file (${program.#reason(error)})`);
    }
    return program;
  }

  #runtime;
  #memory = 0;
  #model = null;
  #compiled = null;

  constructor(runtime) {
    this.#runtime = runtime;
  }

  async #compile(bytes) {
    const {wasm, environment} = this.#runtime;
    this.#memory = wasm._malloc(bytes.length);
    wasm.HEAPU8.set(bytes, this.#memory);
    this.#model = wasm.loadModel(environment, this.#memory, bytes.length);
    const options = {cpuOptions: {numThreads: 1}, gpuOptions: {}, webNNOptions: {}};
    this.#compiled = await wasm.compileModel(environment, this.#model, {
      accelerator: 'wasm',
      environment: {},
      ...options,
    });
  }

  /**
   * Binds the tensors of a signature.
   * @param {string} key Its name.
   * @param {TensorForm[]} inputs
   * @param {TensorForm[]} outputs
   */
  bind(key, inputs, outputs) {
    const count = this.#model.getNumSignatures();
    for (let index = 0; index < count; index++) {
      if (this.#model.getSignature(index).key() === key) {
        const parts = {runtime: this.#runtime, model: this.#model, compiled: this.#compiled};
        return new BoundSignature(parts, index, inputs, outputs);
      }
    }
    throw new KgatedError(`the file has no signature '${key}': convert it again`);
  }

  #reason(error) {
    const lines = this.#runtime.log.filter((line) => line.startsWith('ERROR'));
    return lines.at(-1) ?? error.message ?? String(error);
  }

  delete() {
    this.#compiled?.delete();
    this.#model?.delete();
    if (this.#memory) this.#runtime.wasm._free(this.#memory);
    this.#compiled = this.#model = null;
    this.#memory = 0;
  }
}

/**
 * @typedef {object} TensorForm
 * @property {string} name
 * @property {'float32'|'int32'|'int16'|'int8'} dtype
 * @property {number} bytes Size of the whole tensor.
 */

/** One signature with its input buffers; a run leaves its outputs in `outputs`. */
export class BoundSignature {
  #wasm;
  #compiled;
  #index;
  /** @type {Map<string, any>} */
  #inputs = new Map();
  #order;
  #outputNames;
  #results = [];

  constructor({runtime, model, compiled}, index, inputs, outputs) {
    this.#wasm = runtime.wasm;
    this.#compiled = compiled;
    this.#index = index;
    const signature = model.getSignature(index);
    const names = {inputs: listOf(signature.inputNames()), outputs: listOf(signature.outputNames())};
    this.#outputNames = names.outputs;
    checkForms(inputs, names.inputs, (n) => model.getInputTensorType(index, n));
    checkForms(outputs, names.outputs, (n) => model.getOutputTensorType(index, n));
    for (const [n, name] of names.inputs.entries()) {
      const type = model.getInputTensorType(index, n);
      const host = this.#wasm.LiteRtTensorBufferType.HOST_MEMORY;
      const create = this.#wasm.LiteRtTensorBuffer.createManaged;
      this.#inputs.set(name, create(runtime.environment, host, type, type.bytes()));
      type.delete();
    }
    this.#order = [...this.#inputs.values()];
  }

  /** Runs the signature on what the inputs hold. */
  run() {
    this.#free();
    this.#results = this.#compiled.run(this.#index, this.#order);
  }

  /**
   * Copies bytes into an input.
   * @param {string} name
   * @param {Uint8Array} bytes
   */
  write(name, bytes) {
    const buffer = this.#inputs.get(name);
    this.#wasm.HEAPU8.set(bytes, this.#lock(buffer, 'WRITE'));
    buffer.unlock();
  }

  /** @returns {Uint8Array} A copy of the bytes of an input. */
  readInput(name) {
    return this.#read(this.#inputs.get(name));
  }

  /** @returns {Uint8Array} A copy of the bytes of an output of the last run. */
  readOutput(name) {
    return this.#read(this.#results[this.#outputNames.indexOf(name)]);
  }

  /** Copies an output of the last run into the input of the same name. */
  carry(name) {
    const source = this.#results[this.#outputNames.indexOf(name)];
    const target = this.#inputs.get(name);
    const from = this.#lock(source, 'READ');
    const to = this.#lock(target, 'WRITE');
    this.#wasm.HEAPU8.copyWithin(to, from, from + source.packedSize());
    source.unlock();
    target.unlock();
  }

  #read(buffer) {
    const from = this.#lock(buffer, 'READ');
    const bytes = this.#wasm.HEAPU8.slice(from, from + buffer.packedSize());
    buffer.unlock();
    return bytes;
  }

  #lock(buffer, mode) {
    return buffer.lock(this.#wasm.LiteRtTensorBufferLockMode[mode]);
  }

  #free() {
    for (const buffer of this.#results) buffer.delete();
    this.#results = [];
  }

  delete() {
    this.#free();
    for (const buffer of this.#order) buffer.delete();
    this.#order = [];
    this.#inputs.clear();
  }
}

function listOf(vector) {
  const items = Array.from({length: vector.size()}, (_, n) => vector.get(n));
  vector.delete();
  return items;
}

/** Refuses a file whose tensors are not those of its manifest. */
function checkForms(forms, names, typeOf) {
  const expected = new Map(forms.map((form) => [form.name, form]));
  if (expected.size !== names.length) {
    throw new KgatedError(`its tensors are ${names}, not ${[...expected.keys()]}: convert it again`);
  }
  for (const [n, name] of names.entries()) {
    const type = typeOf(n);
    const actual = {element: type.elementType().value, bytes: type.bytes()};
    type.delete();
    const form = expected.get(name);
    const fits = form && ELEMENT_TYPES[form.dtype] === actual.element;
    if (!fits || form.bytes !== actual.bytes) {
      throw new KgatedError(`tensor '${name}' is not what its manifest says: convert it again`);
    }
  }
}
