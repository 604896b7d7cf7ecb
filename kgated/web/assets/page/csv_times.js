/** The time column of lines of text: its name, its unit and its steps. */

import {KgatedError} from '../kgated/errors.js';
import {real} from './csv_cells.js';

const TIME_NAMES = new Set(['time', 'timestamp', 't', 'time_s', 'datetime', 'seconds']);
const UNITS = new Map(
  [
    [1, 's', 'sec', 'secs', 'second', 'seconds'],
    [1e-3, 'ms', 'msec', 'millis', 'milliseconds'],
    [1e-6, 'us', 'µs', 'μs', 'usec', 'micros', 'microseconds'],
    [1e-9, 'ns', 'nanos', 'nanoseconds'],
    [60, 'min', 'mins', 'minutes'],
    [3600, 'h', 'hr', 'hrs', 'hours'],
    [86400, 'd', 'days'],
  ].flatMap(([factor, ...names]) => names.map((name) => [name, factor])),
);
const UNIT = new RegExp(`^(.*?)[\\s_,(\\[]+(${[...UNITS.keys()].join('|')})[)\\]]?$`, 'iu');
const EPOCHS = [[1e17, 1e-9], [1e14, 1e-6], [1e11, 1e-3]]; // of 1973 and later, in smaller units
const DATE = /^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?(Z|[+-]\d\d:?\d\d)?$/i;
const TIMES = 50; // of the first frames, from which the period is measured
const LOST = 1.75; // periods of a step that is a gap
const SAME_PERIOD = 0.1; // relative: clocks of sensors are rough

/** The place of the one column that the header names as the time; -1 for none. */
export function timePlace(names) {
  const places = names.flatMap((name, n) => (TIME_NAMES.has(withoutUnit(name)) ? [n] : []));
  return places.length === 1 ? places[0] : -1;
}

function withoutUnit(name) {
  const match = UNIT.exec(name.trim());
  const plain = (match ? match[1] : name).trim().toLowerCase();
  const isTemperature = plain === 't' && /^(min|h|d)$/i.test(match?.[2] ?? '');
  return isTemperature ? name.toLowerCase() : plain;
}

/** Seconds per unit of a time column, by its name; null where it has none. */
function factorOfName(name) {
  const match = UNIT.exec(name.trim());
  return UNITS.get((match ? match[2] : name.trim()).toLowerCase()) ?? null;
}

/** A time in seconds, or an ISO date in seconds since 1970; NaN for anything else. */
function seconds(field, factor) {
  const value = real(field.replaceAll(',', '.'));
  if (Number.isNaN(value)) return secondsOfDate(field);
  return value * (factor ?? EPOCHS.find(([size]) => value > size)?.[1] ?? 1);
}

function secondsOfDate(field) {
  const match = DATE.exec(field.trim());
  if (!match) return NaN;
  const [, date, fraction = '', zone = ''] = match;
  return Date.parse(date.replace(' ', 'T') + zone) / 1000 + Number(`0.${fraction}0`);
}

/**
 * Refuses a time column that steps otherwise than the frames of training.
 * @param {string[]} fields Of the time column.
 * @param {string} name Of the time column.
 * @param {number?} period Seconds from frame to frame in training; null where unknown.
 * @throws {KgatedError} It steps otherwise.
 */
export function checkPeriod(fields, name, period) {
  if (!period) return;
  const factor = factorOfName(name);
  const times = fields.map((field) => seconds(field, factor)).filter(Number.isFinite);
  if (times.length < TIMES) return;
  const step = stepOf(times.slice(0, TIMES));
  if (!step || Math.abs(step - period) <= SAME_PERIOD * Math.max(step, period)) return;
  throw new KgatedError(
    `the time column steps by ${short(step * 1e3, 4)} ms, the frames of training by ` +
      `${short(period * 1e3, 4)} ms: resample to ${short(1 / period, 6)} frames per second, or ` +
      'leave the time column out',
  );
}

/** The mean step of times without gaps; 0 where they do not grow. */
function stepOf(times) {
  const steps = times.slice(1).map((time, n) => time - times[n]);
  const median = steps.toSorted((a, b) => a - b)[(steps.length - 1) / 2];
  if (median <= 0) return 0;
  const regular = steps.filter((step) => step < LOST * median);
  return regular.reduce((sum, step) => sum + step, 0) / regular.length;
}

const short = (value, digits) => String(Number(value.toPrecision(digits)));
