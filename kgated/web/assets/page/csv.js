/** Frames from lines of text, by the rules of `kgated-edge live` without options. */

import {KgatedError} from '../kgated/errors.js';

const TIME_NAMES = new Set(['time', 'timestamp', 't', 'time_s', 'datetime', 'seconds']);

/**
 * A frame per line. Fields are separated by commas, semicolons (numbers may then have decimal
 * commas), tabs or blanks. A first line without numbers is the header; its time column is left out.
 * @param {string} text
 * @param {any} spec One frame, from the manifest.
 * @returns {(Float32Array|Int32Array)[]}
 * @throws {KgatedError} A line that is no frame.
 */
export function csvFrames(text, spec) {
  const size = spec.shape.reduce((product, length) => product * length, 1);
  const lines = text.split(/\r\n|\n|\r/).map((line, n) => ({line, number: n + 1}));
  const rows = lines.filter(({line}) => line.trim());
  if (!rows.length) throw new KgatedError('the file has no lines: write one frame per line');
  const layout = layoutOf(rows[0].line, size);
  const frames = layout.isHeader ? rows.slice(1) : rows;
  return frames.map(({line, number}) => frameOf(line, number, layout, spec, size));
}

function layoutOf(line, size) {
  const delimiter = [';', '\t', ','].find((character) => line.includes(character)) ?? null;
  const fields = split(line, delimiter);
  const isHeader =
    /\p{Letter}/u.test(line) && fields.length >= Math.min(2, size) && !fields.some(isNumber);
  const times = fields.map((name, n) => (TIME_NAMES.has(name.toLowerCase()) ? n : -1));
  const named = times.filter((n) => n >= 0);
  const time = isHeader && named.length === 1 && fields.length === size + 1 ? named[0] : -1;
  const columns = isHeader ? fields.length - (time >= 0) : size;
  if (columns !== size) {
    throw new KgatedError(
      `the header has ${columns} columns of features, the model takes ${size}: keep those alone`,
    );
  }
  return {delimiter, isHeader, time, width: size + (time >= 0)};
}

function frameOf(line, number, {delimiter, time, width}, spec, size) {
  let fields = split(line, delimiter);
  if (fields.length !== width) fields = line.replaceAll(',', ' ').trim().split(/\s+/);
  const chosen = fields.filter((_, n) => n !== time);
  const values = chosen.map((field) => numberIn(field, delimiter));
  const isWhole = spec.dtype !== 'int32' || values.every(Number.isInteger);
  if (fields.length !== width || !values.every(Number.isFinite) || !isWhole) {
    throw new KgatedError(
      `line ${number} must hold ${size} numbers of ${spec.dtype}, got '${line.slice(0, 60)}': ` +
        'write one frame per line',
    );
  }
  return spec.dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values);
}

function split(line, delimiter) {
  if (delimiter === null) return line.trim().split(/\s+/);
  return line.split(delimiter).map((field) => field.trim().replace(/^"(.*)"$/, '$1'));
}

function numberIn(field, delimiter) {
  const text = delimiter === ';' ? field.replace(',', '.') : field;
  return text.trim() ? Number(text) : NaN;
}

const isNumber = (field) => Number.isFinite(numberIn(field.replace(',', '.'), null));
