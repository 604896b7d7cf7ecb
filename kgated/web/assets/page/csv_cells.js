/** The cells of a line of text: its fields and their numbers. */

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const NOT_FINITE = /^[+-]?(nan|inf|infinity)$/i;

/** The fields of a line. */
export function split(line, delimiter) {
  if (delimiter === null) return line.trim().split(/\s+/);
  if (!line.includes('"')) return line.split(delimiter).map((field) => field.trim());
  return quotedFields(line, delimiter).map((field) => field.trim());
}

/** The fields of a line with quotes: a quoted field may hold delimiters, and a quote as two. */
function quotedFields(line, delimiter) {
  const fields = [''];
  let isQuoted = false;
  for (let n = 0; n < line.length; n++) {
    const character = line[n];
    const isPair = isQuoted && character === '"' && line[n + 1] === '"';
    if (character === '"' && !isPair && (isQuoted || !fields.at(-1))) isQuoted = !isQuoted;
    else if (character === delimiter && !isQuoted) fields.push('');
    else fields[fields.length - 1] += character;
    n += isPair;
  }
  return fields;
}

/** A number; NaN for none, and where commas and points are mixed in the fields of its line. */
export function numberIn(field, delimiter, fields = [field]) {
  const hasCommas = delimiter !== ',' && fields.some((item) => item.includes(','));
  if (hasCommas && fields.some((item) => item.includes('.'))) return NaN;
  return real(hasCommas ? field.replaceAll(',', '.') : field);
}

/** A decimal number; NaN for anything else, such as the hexadecimal numbers that `Number` reads. */
export function real(text) {
  return NUMBER.test(text.trim()) ? Number(text) : NaN;
}

/** Whether a field is a number, with a decimal point or comma. */
export function isNumber(field) {
  const text = field.replaceAll(',', '.').trim();
  return NUMBER.test(text) || NOT_FINITE.test(text);
}

/** Whether a field is a whole number as a token has it: "3", not "3.0". */
export const isWhole = (field) => /^[+-]?\d+$/.test(field.trim());

/** Whether a name is the number of a column. */
export const isPlace = (name) => /^\d+$/.test(name);
