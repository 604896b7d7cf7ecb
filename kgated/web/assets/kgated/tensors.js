/** Tensors of the manifest: sizes, golden arrays, and quantization as in `kgated_edge`. */

import {KgatedError} from './errors.js';

const ARRAYS = {float32: Float32Array, int32: Int32Array, int16: Int16Array, int8: Int8Array};
const LIMITS = {int8: [-128, 127], int16: [-32768, 32767]};

/** @param {{shape: number[]}} spec @returns {number} Elements of a tensor. */
export const sizeOf = (spec) => spec.shape.reduce((product, length) => product * length, 1);

/** @returns {boolean} Whether a tensor holds quantized floats. */
export const isQuantized = (spec) => spec.dtype in LIMITS;

/**
 * What the runtime knows of a tensor.
 * @param {any} spec Entry of the manifest.
 * @param {number} rows How many of it are in the tensor.
 */
export function formOf(spec, rows = 1) {
  const bytes = rows * sizeOf(spec) * ARRAYS[spec.dtype].BYTES_PER_ELEMENT;
  return {name: spec.name, dtype: spec.dtype, bytes};
}

/** @returns {Float32Array|Int32Array|Int16Array|Int8Array} Bytes as the numbers of a tensor. */
export function viewOf(bytes, dtype) {
  return new ARRAYS[dtype](bytes.buffer, bytes.byteOffset, bytes.length / sizeIn(dtype));
}

const sizeIn = (dtype) => ARRAYS[dtype].BYTES_PER_ELEMENT;

/** @returns {Float32Array|Int32Array|Int16Array|Int8Array} Zeros of a tensor's dtype. */
export const emptyArray = (dtype, length) => new ARRAYS[dtype](length);

/** Decodes an array of the manifest: float32 also where the tensor is quantized. */
export function decodeTensor(entry, spec) {
  const bytes = Uint8Array.from(atob(entry.base64), (character) => character.charCodeAt(0));
  const array = viewOf(bytes, isQuantized(spec) ? 'float32' : spec.dtype);
  if (array.length !== entry.shape.reduce((a, b) => a * b, 1)) {
    throw new KgatedError(`golden array '${spec.name}' has another size: convert it again`);
  }
  return array;
}

/** Rounds to nearest, ties to even, for |x| up to 2**51. */
export function rint(x) {
  const shift = 6755399441055744; // 1.5 * 2**52
  return x + shift - shift;
}

/**
 * Quantizes in float32, as the runner does: clip, divide, round to even.
 * @param {Float32Array} values
 * @param {any} spec Of an integer dtype with scale and zero point.
 */
export function quantize(values, spec) {
  const [low, high] = LIMITS[spec.dtype];
  const scale = Math.fround(spec.scale);
  const zero = spec.zero_point;
  const [lowest, highest] = [Math.fround((low - zero) * scale), Math.fround((high - zero) * scale)];
  return ARRAYS[spec.dtype].from(values, (value) => {
    const clipped = Math.max(lowest, Math.min(highest, value));
    return rint(Math.fround(clipped / scale)) + zero;
  });
}

/** @returns {Float32Array} scale * (stored - zero point). */
export function dequantize(stored, spec) {
  const scale = Math.fround(spec.scale);
  return Float32Array.from(stored, (value) => (value - spec.zero_point) * scale);
}
