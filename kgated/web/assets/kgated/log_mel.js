/**
 * Energies of mel bands of audio, with the same bits as `kgated_edge.ingest.logmel`.
 *
 * Every sum is of integers below 2**53, which a number represents exactly in any order.
 */

import {log} from './exact_math.js';
import {rint} from './tensors.js';

const SAMPLE_BITS = 15;
const WINDOW_BITS = 15;
const POWER_BITS = 38;
const WEIGHT_BITS = 11;
const ENERGY_BITS = POWER_BITS + WEIGHT_BITS;

/** @returns {number} The log-mel value of an energy in units of 2**-49. */
export const logMel = (energy) => Math.fround(log(energy) - ENERGY_BITS * Math.LN2);

/** @returns {number} An energy, that of a full-scale sine about 1. */
export const scaledEnergy = (energy) => energy * 2 ** -ENERGY_BITS;

/** Computes the energies of the bands of one window. */
export class MelBands {
  /** @param {{rate: number, window: number, mels: number, low_hz: number, high_hz: number?}} spec */
  constructor(spec) {
    this.window = spec.window;
    this.size = 2 ** Math.ceil(Math.log2(spec.window));
    this.bits = 53 - SAMPLE_BITS - WINDOW_BITS - Math.ceil(Math.log2(spec.window));
    this.hann = hann(spec.window);
    const angle = (n) => (2 * Math.PI * n) / this.size;
    const scale = 2 ** this.bits;
    this.cosines = Float64Array.from({length: this.size}, (_, n) => rint(Math.cos(angle(n)) * scale));
    this.sines = Float64Array.from({length: this.size}, (_, n) => rint(Math.sin(angle(n)) * scale));
    const sum = this.hann.reduce((a, b) => a + b);
    this.full = (2 ** (SAMPLE_BITS + this.bits) * sum) / 2;
    this.bands = melWeights(spec, this.size);
    this.weighted = new Float64Array(spec.window);
  }

  /**
   * @param {Int16Array} samples
   * @param {number} start First sample of the window.
   * @returns {Float64Array} (mels,) energies in units of 2**-49.
   */
  energies(samples, start) {
    for (let n = 0; n < this.window; n++) this.weighted[n] = samples[start + n] * this.hann[n];
    const powers = new Map();
    return Float64Array.from(this.bands, (weights) => {
      let energy = 0;
      for (const [k, weight] of weights) {
        if (!powers.has(k)) powers.set(k, this.#power(k));
        energy += powers.get(k) * weight;
      }
      return Math.max(energy, 1);
    });
  }

  #power(k) {
    const {weighted, cosines, sines, size} = this;
    let [real, imaginary] = [0, 0];
    for (let n = 0, index = 0; n < weighted.length; n++) {
      real += weighted[n] * cosines[index];
      imaginary += weighted[n] * sines[index];
      index = (index + k) & (size - 1);
    }
    real /= this.full;
    imaginary /= this.full;
    return rint((real * real + imaginary * imaginary) * 2 ** POWER_BITS);
  }
}

function hann(window) {
  const value = (n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / window);
  return Float64Array.from({length: window}, (_, n) => rint(value(n) * 2 ** WINDOW_BITS));
}

/** Per band the frequencies with a weight: [index, weight]. */
function melWeights({rate, mels, low_hz: low, high_hz: high}, size) {
  const [first, last] = [low, high ?? rate / 2].map((hz) => 2595 * Math.log10(1 + hz / 700));
  const step = (last - first) / (mels + 1);
  const edge = (n) => 700 * (10 ** ((n === mels + 1 ? last : n * step + first) / 2595) - 1);
  return Array.from({length: mels}, (_, band) => {
    const [left, middle, right] = [edge(band), edge(band + 1), edge(band + 2)];
    const weight = (k) => {
      const hz = (k * rate) / size;
      const triangle = Math.min((hz - left) / (middle - left), (right - hz) / (right - middle));
      return rint(Math.max(0, triangle) * 2 ** WEIGHT_BITS);
    };
    const weights = Array.from({length: size / 2 + 1}, (_, k) => [k, weight(k)]);
    return weights.filter((pair) => pair[1] > 0);
  });
}
