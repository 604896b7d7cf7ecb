/** Frames from lines of text, by the rules of `kgated-edge live`. */

import {KgatedError} from '../kgated/errors.js';
import {sizeOf} from '../kgated/tensors.js';
import {isNumber, isPlace, isWhole, numberIn, split} from './csv_cells.js';
import {checkPeriod, timePlace} from './csv_times.js';

/**
 * A frame per line. Fields are separated by commas, semicolons (numbers may then have decimal
 * commas), tabs, | or blanks. A first line without numbers is the header; where it names the
 * features that the model was trained on, these are taken, else all but its time column. Lines that
 * begin with # are left out.
 * @param {string} text
 * @param {any[]} specs One frame of each input, from the manifest.
 * @param {string[][]?} columns The columns of each input, by name or by number from 1; null for all
 *     of them, in the order of the inputs.
 * @param {{names?: string[]?, period?: number?}} [trained] The names of the model's features, and
 *     the seconds from frame to frame in training.
 * @returns {any[]} Arguments of `step` of one frame: arrays, by name with several inputs.
 * @throws {KgatedError} A column that does not exist, a line that is no frame, or a time column that
 *     steps otherwise than the frames of training.
 */
export function csvFrames(text, specs, columns = null, {names = null, period = null} = {}) {
  const numbered = text.split(/\r\n|\n|\r/).map((line, n) => ({line, number: n + 1}));
  if (/^\ufeff?"?sep=/.test(numbered[0].line)) numbered.shift(); // Excel's line for the delimiter
  const rows = numbered.filter(({line}) => line.trim() && !line.startsWith('#'));
  if (!rows.length) throw new KgatedError('the file has no lines: write one frame per line');
  const layout = layoutOf(rows[0].line, specs, columns, names);
  const lines = layout.isHeader ? rows.slice(1) : rows;
  const read = lines.map(({line, number}) => {
    const fields = fieldsOf(line, layout);
    return {fields, frame: frameOf(fields, line, number, layout, specs)};
  });
  if (layout.time >= 0) {
    checkPeriod(read.map(({fields}) => fields[layout.time]), layout.timeName, period);
  }
  return read.map(({frame}) => frame);
}

/** The delimiter, the fields of a line, and by input the places of its columns. */
function layoutOf(line, specs, columns, trained) {
  const size = specs.reduce((total, spec) => total + sizeOf(spec), 0);
  const delimiter = [';', '\t', ',', '|'].find((character) => line.includes(character)) ?? null;
  const fields = split(line, delimiter);
  const isHeader =
    /\p{Letter}/u.test(line) && fields.length >= Math.min(2, size) && !fields.some(isNumber);
  columns ??= isHeader && specs.length === 1 ? trainedColumns(fields, size, trained) : null;
  const isExtra = columns !== null || fields.length === size + 1;
  const time = isHeader && isExtra ? timePlace(fields) : -1;
  const frame = {delimiter, isHeader, size, time, timeName: fields[time]};
  if (columns) return {...frame, ...chosenPlaces(fields, isHeader, specs, columns)};
  const count = isHeader ? fields.length - (time >= 0) : size;
  if (count !== size) {
    throw new KgatedError(
      `the header has ${count} columns of features, the model takes ${size}: name those to take`,
    );
  }
  const width = size + (time >= 0);
  const places = Array.from({length: width}, (_, n) => n).filter((n) => n !== time);
  return {...frame, width, places: groups(places, specs)};
}

/** The columns that the model was trained on; null where it has no names for them. */
function trainedColumns(names, size, trained) {
  if (trained?.length !== size || trained.every((name) => /^column \d+$/.test(name))) return null;
  const missing = trained.find((name) => !names.includes(name));
  if (missing === undefined) return [trained];
  throw new KgatedError(
    `the header has no column '${missing}', which the model was trained on; it has ` +
      `${names.join(', ')}: name those to take, in the order ${trained.join(', ')}`,
  );
}

function chosenPlaces(fields, isHeader, specs, columns) {
  if (!isHeader && !columns.flat().every(isPlace)) {
    throw new KgatedError('a header must name the columns, the first line has numbers: add one');
  }
  const names = isHeader ? fields : fields.map((_, n) => String(n + 1));
  specs.forEach((spec, n) => {
    if (columns[n].length !== sizeOf(spec)) {
      throw new KgatedError(
        `'${spec.name}' takes ${sizeOf(spec)} columns, got ${columns[n].length}: name as many`,
      );
    }
  });
  const places = columns.map((group) => group.map((name) => placeOf(name, names)));
  return {width: names.length, places};
}

/** The place of a column by its name, or by its number from 1. */
function placeOf(name, names) {
  const place = names.indexOf(name);
  if (place !== names.lastIndexOf(name)) {
    throw new KgatedError(
      `the header has the column '${name}' twice: name it by its number from 1`,
    );
  }
  if (place >= 0) return place;
  if (isPlace(name) && Number(name) >= 1 && Number(name) <= names.length) return Number(name) - 1;
  throw new KgatedError(
    `there is no column '${name}', the columns are ${names.join(', ')}: name one of these`,
  );
}

/** Divides places among the inputs, by their sizes. */
function groups(places, specs) {
  let start = 0;
  return specs.map((spec) => places.slice(start, (start += sizeOf(spec))));
}

function fieldsOf(line, {delimiter, width}) {
  const fields = split(line, delimiter);
  return fields.length === width ? fields : line.replaceAll(',', ' ').trim().split(/\s+/);
}

function frameOf(fields, line, number, {delimiter, width, size, places}, specs) {
  const arrays = specs.map((spec, n) => {
    const texts = places[n].map((place) => fields[place] ?? '');
    const values = texts.map((field) => numberIn(field, delimiter, texts));
    const isToken = (value, k) => isWhole(texts[k]) && value === (value | 0); // of 32 bits
    const areRight = values.every(spec.dtype === 'int32' ? isToken : Number.isFinite);
    if (fields.length !== width || !areRight) {
      throw new KgatedError(
        `line ${number} must hold ${size} numbers${specs.length > 1 ? '' : ` of ${spec.dtype}`}, ` +
          `got '${line.slice(0, 60)}': write one frame per line`,
      );
    }
    return spec.dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values);
  });
  if (arrays.length === 1) return arrays[0];
  return Object.fromEntries(arrays.map((array, n) => [specs[n].name, array]));
}
