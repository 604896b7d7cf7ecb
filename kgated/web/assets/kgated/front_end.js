/**
 * Frames from audio as the manifest describes them, with the same bits as
 * `kgated_edge.ingest.front_end` however the audio is cut into chunks.
 */

import {exactProduct, log, power} from './exact_math.js';
import {logMel, MelBands, scaledEnergy} from './log_mel.js';

const MAX_LOG = 64;
const DELTA_FRAMES = 4;

/** The frames of audio that arrives in chunks. */
export class FrontEnd {
  /** @param {any} spec `manifest.front_end`. */
  constructor(spec) {
    this.spec = spec;
    this.bands = new MelBands(spec);
    this.base = baseFeatures(spec);
    this.reset();
  }

  /** Starts anew. */
  reset() {
    this.rest = new Int16Array(0);
    this.skip = 0;
    this.pcen = this.spec.pcen && pcen(this.spec);
    this.deltas = Array.from({length: this.spec.deltas}, () => slopes());
  }

  /**
   * @param {Int16Array} samples The next samples, at `spec.rate`.
   * @returns {Float32Array[]} The frames that they complete.
   */
  push(samples) {
    const {window, hop} = this.spec;
    let buffer = new Int16Array(this.rest.length + samples.length);
    buffer.set(this.rest);
    buffer.set(samples, this.rest.length);
    const dropped = Math.min(this.skip, buffer.length);
    this.skip -= dropped;
    buffer = buffer.subarray(dropped);
    const frames = [];
    let start = 0;
    for (; start + window <= buffer.length; start += hop) {
      frames.push(this.#frame(this.bands.energies(buffer, start)));
    }
    this.skip += Math.max(0, start - buffer.length);
    this.rest = buffer.slice(start);
    return frames;
  }

  #frame(energies) {
    const parts = [this.pcen ? this.pcen(energies.map(scaledEnergy)) : this.base(energies)];
    for (const slope of this.deltas) parts.push(slope(parts.at(-1)));
    const frame = Float32Array.from(parts.flatMap((part) => Array.from(part)));
    const {mean, scale} = this.spec;
    return mean ? frame.map((value, n) => (value - mean[n]) * scale[n]) : frame;
  }
}

function baseFeatures({kind, mels, coefficients}) {
  if (kind !== 'mfcc') return (energies) => Float32Array.from(energies, logMel);
  const entry = (m, k) => {
    if (k === 0) return Math.sqrt(1 / mels);
    return Math.cos((Math.PI * (m + 0.5) * k) / mels) * Math.sqrt(2 / mels);
  };
  const dct = exactProduct(mels, coefficients, entry, MAX_LOG);
  return (energies) => Float32Array.from(dct(energies.map((energy) => log(scaledEnergy(energy)))));
}

/** Per-channel energy normalization: (E / (floor + M)^gain + bias)^power - bias^power. */
function pcen({pcen: parameters, hop, rate}) {
  const {gain, bias, power: exponent, smoothing_s: smoothing, floor} = parameters;
  const frames = smoothing / (hop / rate);
  const weight = 2 / (Math.sqrt(1 + 4 * (frames * frames)) + 1);
  const offset = power(bias, exponent);
  let mean = null;
  return (energies) => {
    mean = mean ? mean.map((m, n) => m + weight * (energies[n] - m)) : energies.slice();
    return Float32Array.from(energies, (energy, n) => {
      const gained = energy * power(mean[n] + floor, -gain) + bias;
      return power(gained, exponent) - offset;
    });
  };
}

/** The slope of each value by regression over the last five frames; the first one is repeated. */
function slopes() {
  let last = null;
  return (frame) => {
    last ??= Array.from({length: DELTA_FRAMES}, () => frame);
    const x = [...last, frame];
    last = x.slice(1);
    return frame.map((_, n) => (2 * (x[4][n] - x[0][n]) + (x[3][n] - x[1][n])) / 10);
  };
}
