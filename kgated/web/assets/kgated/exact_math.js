/** Functions with the same bits on every machine; the twin of `kgated_edge.ingest.exact_math`. */

import {rint} from './tensors.js';

const VALUE_BITS = 20;
const MAX_EXPONENT = 700;
const [HIGH_LN2, LOW_LN2] = [0.69314718036912381649, 1.9082149292705877e-10];
const number = new Float64Array(1);
const words = new Uint32Array(number.buffer);
const HIGH = new Uint8Array(new Uint32Array([1]).buffer)[0]; // place of the upper half

/** x = m 2**e with m in 0.5..1, for normal x above 0. */
function frexp(x) {
  number[0] = x;
  const e = ((words[HIGH] >>> 20) & 0x7ff) - 1022;
  words[HIGH] = (words[HIGH] & 0x800fffff) | (1022 << 20);
  return [number[0], e];
}

/** 2**k for whole k in -1022..1023. */
function powerOfTwo(k) {
  words[1 - HIGH] = 0;
  words[HIGH] = (k + 1023) << 20;
  return number[0];
}

/** @param {number} x Above 0. @returns {number} The natural logarithm. */
export function log(x) {
  let [m, e] = frexp(x);
  if (m < Math.sqrt(0.5)) {
    m = 2 * m;
    e -= 1;
  }
  const s = (m - 1) / (m + 1);
  const square = s * s;
  let series = 0;
  for (let n = 17; n > 0; n -= 2) series = series * square + 1 / n;
  return e * Math.LN2 + 2 * s * series;
}

/** @param {number} x |x| up to 700. @returns {number} e**x. */
export function exp(x) {
  const clipped = Math.min(Math.max(x, -MAX_EXPONENT), MAX_EXPONENT);
  const k = rint(clipped * (1 / Math.LN2));
  const r = clipped - k * HIGH_LN2 - k * LOW_LN2;
  let series = 1;
  for (let n = 14; n > 0; n--) series = 1 + (series * r) / n;
  return series * powerOfTwo(k);
}

/** @returns {number} x**exponent for x above 0. */
export const power = (x, exponent) => exp(exponent * log(x));

/**
 * A matrix of fixed-point numbers, and the products of vectors with it, exact in any order.
 * @param {number} rows
 * @param {number} columns
 * @param {(row: number, column: number) => number} entry |entry| up to 1.
 * @param {number} maxValue |value| of a vector is below it.
 * @returns {(values: Float64Array) => Float64Array} The product of a vector (rows,).
 */
export function exactProduct(rows, columns, entry, maxValue) {
  const bits = 52 - VALUE_BITS - Math.ceil(Math.log2(maxValue * rows));
  const table = new Float64Array(rows * columns);
  for (let n = 0; n < table.length; n++) {
    table[n] = rint(entry(Math.floor(n / columns), n % columns) * 2 ** bits);
  }
  const unit = 2 ** -(VALUE_BITS + bits);
  return (values) => {
    const product = new Float64Array(columns);
    for (let n = 0; n < table.length; n++) {
      product[n % columns] += rint(values[Math.floor(n / columns)] * 2 ** VALUE_BITS) * table[n];
    }
    return product.map((sum) => sum * unit);
  };
}
