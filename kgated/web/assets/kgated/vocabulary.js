/** Text to ids by the vocabulary of a manifest; the twin of `kgated_edge.text.encode`. */

import {KgatedError} from './errors.js';

const PUNCTUATION = new Set('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\'');
// Keras splits bytes, so that only the blanks of ASCII count.
const ASCII_BLANKS = /[\t-\r ]+/;
// What Python's `str.split` takes for blanks.
const BLANKS =
  /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
const WHOLE_NUMBER = /^[+-]?\d+$/;

/**
 * The ids of a text. Where the caller has to split (`split` is "given"), blanks separate tokens.
 * @param {any} vocabulary An entry of `manifest.vocabularies`.
 * @param {string} text
 * @returns {Int32Array}
 * @throws {KgatedError} A token that is not in a vocabulary without an id for unknown ones.
 */
export function encode(vocabulary, text) {
  const ids = split(vocabulary, text).map((token) => idOf(vocabulary, token));
  const {length, padding, split: kind} = vocabulary;
  if (length === null || kind === 'given') return Int32Array.from(ids);
  if (ids.length < length && padding === null) {
    throw new KgatedError(
      `a text must have ${length} tokens or more, got ${ids.length}: the vocabulary has no id ` +
        'for padding',
    );
  }
  return Int32Array.from({length}, (_, n) => ids[n] ?? padding);
}

function split(vocabulary, text) {
  if (vocabulary.split === 'given') return givenTokens(vocabulary, text);
  const standard = standardized(text, vocabulary.standardize);
  if (vocabulary.split === 'whitespace') return standard.split(ASCII_BLANKS).filter(Boolean);
  return vocabulary.split === 'character' ? Array.from(standard) : [standard];
}

function standardized(text, rule) {
  const lower = rule === 'lower' || rule === 'lower_and_strip_punctuation';
  const cased = lower ? text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : text;
  const strips = rule === 'strip_punctuation' || rule === 'lower_and_strip_punctuation';
  if (!strips) return cased;
  return Array.from(cased).filter((character) => !PUNCTUATION.has(character)).join('');
}

function givenTokens({tokens}, text) {
  const words = text.split(BLANKS).filter(Boolean);
  if (!words.length) {
    throw new KgatedError('this model takes tokens, with blanks between them: write one or more');
  }
  if (typeof tokens[0] === 'string') return words;
  if (!words.every((word) => WHOLE_NUMBER.test(word))) {
    throw new KgatedError(`this model takes whole numbers, got '${text.slice(0, 60)}'`);
  }
  return words.map(Number);
}

function idOf(vocabulary, token) {
  const id = indexOf(vocabulary).get(token) ?? vocabulary.unknown;
  if (id === null) {
    throw new KgatedError(
      `'${token}' is not among the ${vocabulary.tokens.length} tokens of the vocabulary, which ` +
        'has no id for unknown ones: replace it',
    );
  }
  return id;
}

/** By vocabulary, the id of each token. */
const indexes = new WeakMap();

function indexOf(vocabulary) {
  const known = indexes.get(vocabulary);
  if (known) return known;
  const {tokens} = vocabulary;
  if (tokens.some((token) => typeof token === 'number' && !Number.isSafeInteger(token))) {
    throw new KgatedError('the vocabulary has integers beyond 2^53, which JavaScript rounds');
  }
  const index = new Map(tokens.map((token, id) => [token, id]));
  indexes.set(vocabulary, index);
  return index;
}
