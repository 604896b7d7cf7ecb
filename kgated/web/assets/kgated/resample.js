/** Changes the rate of audio, with the same samples as `kgated_edge.ingest.resample`. */

import {KgatedError} from './errors.js';
import {rint} from './tensors.js';

const ZERO_CROSSINGS = 32;
const KAISER_BETA = 9;
const CUTOFF = 0.93; // of half the lower rate
const TAP_BITS = 20;
const MAX_TAPS = 2 ** 22;

/** Resamples audio that arrives in chunks: a polyphase windowed-sinc filter of integers. */
export class Resampler {
  /**
   * @param {number} source Samples per second of the input.
   * @param {number} target Samples per second of the output.
   */
  constructor(source, target) {
    const divisor = greatestCommonDivisor(source, target);
    this.up = target / divisor;
    this.down = source / divisor;
    this.half = Math.ceil(ZERO_CROSSINGS / Math.min(1, target / source));
    if (this.up * 2 * this.half > MAX_TAPS) {
      throw new KgatedError(`audio of ${source} samples per second is not resampled to ${target}`);
    }
    this.taps = filterTaps(this.up, this.down, this.half);
    this.buffer = new Int16Array(this.half - 1); // zeros before the audio
    this.first = 1 - this.half;
    this.received = this.next = 0;
  }

  /** @param {Int16Array} samples @returns {Int16Array} The output that they complete. */
  push(samples) {
    this.received += samples.length;
    return this.#push(samples);
  }

  /** @returns {Int16Array} The rest of the output. */
  finish() {
    const rest = this.#push(new Int16Array(this.half));
    const total = Math.ceil((this.received * this.up) / this.down);
    return rest.slice(0, Math.max(0, rest.length - (this.next - total)));
  }

  #push(samples) {
    const {up, down, half, taps} = this;
    const buffer = new Int16Array(this.buffer.length + samples.length);
    buffer.set(this.buffer);
    buffer.set(samples, this.buffer.length);
    const end = this.first + buffer.length;
    const count = Math.max(0, Math.ceil(((end - half) * up) / down) - this.next);
    const output = new Int16Array(count);
    for (let m = 0; m < count; m++) {
      const position = (this.next + m) * down;
      const start = Math.floor(position / up) - half + 1 - this.first;
      const row = (position % up) * 2 * half;
      let sum = 0;
      for (let k = 0; k < 2 * half; k++) sum += buffer[start + k] * taps[row + k];
      const rounded = Math.floor(sum / 2 ** TAP_BITS + 0.5);
      output[m] = Math.min(Math.max(rounded, -32768), 32767);
    }
    this.next += count;
    const used = Math.floor((this.next * down) / up) - half + 1 - this.first;
    this.buffer = buffer.slice(used);
    this.first += Math.min(used, buffer.length);
    return output;
  }
}

/** (up, 2 half) integers; each row sums to 2**20. */
function filterTaps(up, down, half) {
  const scale = CUTOFF * Math.min(1, up / down);
  const taps = new Float64Array(up * 2 * half);
  for (let phase = 0; phase < up; phase++) {
    const row = taps.subarray(phase * 2 * half, (phase + 1) * 2 * half);
    row.forEach((_, k) => {
      const distance = phase / up - (k - half + 1);
      const window = bessel(KAISER_BETA * Math.sqrt(Math.max(0, 1 - (distance / half) ** 2)));
      row[k] = sinc(scale * distance) * window;
    });
    const sum = row.reduce((a, b) => a + b);
    row.forEach((value, k) => (row[k] = rint((value / sum) * 2 ** TAP_BITS)));
    row[half - 1] += 2 ** TAP_BITS - row.reduce((a, b) => a + b);
  }
  return taps;
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** The modified Bessel function of the first kind, of order 0. */
function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
