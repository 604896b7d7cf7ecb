/** A run of the model: frames in; outputs, events and step times out. */

import {eventDetector} from '../kgated/events.js';
import {StepTimes} from './timing.js';

const MAX_ROWS = 200_000;
const MAX_NUMBERS = 20_000_000; // of all rows, 80 MB

const MAX_FLOAT = 3.4028234663852886e38;

/** What a page shows of a run. */
export class Session {
  /** @param {import('../kgated/kgated.js').Model} model */
  constructor(model) {
    this.model = model;
    const {manifest} = model;
    this.labels = outputLabels(manifest);
    /** Milliseconds for one step, or null where the file does not say it. */
    this.deadline = manifest.sample_period_s
      ? 1000 * manifest.sample_period_s * manifest.frames_per_step
      : null;
    this.eventsNote = '';
    try {
      this.events = eventDetector(manifest);
    } catch (error) {
      this.events = null;
      this.eventsNote = `None: ${error.message}.`;
    }
    this.reset();
  }

  /** Starts anew, from zero state. */
  reset() {
    this.model.reset();
    this.times = new StepTimes(this.deadline);
    /** @type {Float32Array[]} */
    this.rows = [];
    this.count = 0;
    this.notFinite = 0;
    this.waiting = [];
    this.ended = [];
    if (this.events) this.events = eventDetector(this.model.manifest);
  }

  /** @returns {any?} The event that is open now. */
  get openEvent() {
    return this.events?.detector.openEvent ?? null;
  }

  /** Runs frames, block by block. @param {any[]} frames Arrays, by name with several inputs. */
  push(frames) {
    const size = this.model.manifest.frames_per_step;
    for (const frame of frames) {
      this.waiting.push(frame);
      if (this.waiting.length === size) {
        this.step(joined(this.waiting));
        this.waiting = [];
      }
    }
  }

  /**
   * Runs the argument of one step.
   * @param {any} block
   * @param {number} [used] How many of its results are of real frames.
   */
  step(block, used = this.model.manifest.results_per_step) {
    const start = performance.now();
    const result = this.model.step(block);
    this.times.add(performance.now() - start);
    const first = this.model.manifest.outputs[0].name;
    const output = result instanceof Float32Array ? result : result[first];
    const results = this.model.manifest.results_per_step;
    for (let n = 0; n < used; n++) this.#keep(output, n, output.length / results);
    const outputs = result instanceof Float32Array ? [result] : Object.values(result);
    if (!outputs.every((values) => values.every(Number.isFinite))) this.#recover();
    if (this.events) {
      const {detector, scores} = this.events;
      this.ended.push(...detector.step(Array.from(scores(block, output), finite)));
    }
  }

  /** Resets a state that is not finite, or internal, so that later results are numbers again. */
  #recover() {
    this.notFinite += 1;
    const {model} = this;
    if (model.manifest.state === 'internal' || !model.hasFiniteState) model.reset();
  }

  /**
   * Ends the open event. An incomplete block of frames is filled with copies of the last one where
   * a step has several results, else left out; as in the runner.
   */
  finish() {
    const {frames_per_step: size, results_per_step: results, state} = this.model.manifest;
    const used = Math.floor((this.waiting.length * results) / size);
    if (used > 0 && results > 1 && state === 'external') {
      const last = this.waiting.at(-1);
      const filled = Array.from({length: size}, (_, n) => this.waiting[n] ?? last);
      this.step(joined(filled), used);
    }
    this.waiting = [];
    if (this.events) this.ended.push(...this.events.detector.finish());
  }

  #keep(output, n, size) {
    this.count += 1;
    this.rows.push(output.slice(n * size, (n + 1) * size));
    const max = Math.max(2, Math.min(MAX_ROWS, Math.floor(MAX_NUMBERS / size)));
    if (this.rows.length > max) this.rows.splice(0, Math.floor(max / 2));
  }
}

/** The number; 0 for NaN, and the largest float32 for infinity, as in the runner. */
function finite(value) {
  if (Number.isNaN(value)) return 0;
  return Math.min(Math.max(value, -MAX_FLOAT), MAX_FLOAT);
}

/** The frames of a block as one argument of `step`. */
function joined(frames) {
  if (frames.length === 1) return frames[0];
  if (!ArrayBuffer.isView(frames[0])) {
    const names = Object.keys(frames[0]);
    return Object.fromEntries(names.map((name) => [name, joined(frames.map((f) => f[name]))]));
  }
  const joinedFrames = new frames[0].constructor(frames.length * frames[0].length);
  frames.forEach((frame, n) => joinedFrames.set(frame, n * frame.length));
  return joinedFrames;
}

/** A name for each number of the first output. */
export function outputLabels({labels, outputs, threshold}) {
  const size = outputs[0].shape.reduce((a, b) => a * b, 1);
  if (labels?.length === size) return labels;
  if (labels?.length === 2 && size === 1) return [`${labels[1]} (from ${threshold})`];
  return Array.from({length: size}, (_, n) => `${outputs[0].name} ${n}`);
}
