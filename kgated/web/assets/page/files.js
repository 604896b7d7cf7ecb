/** Frames from a file that the user dropped. */

import {readWav} from '../kgated/audio_files.js';
import {KgatedError} from '../kgated/errors.js';
import {FrontEnd} from '../kgated/front_end.js';
import {Resampler} from '../kgated/resample.js';
import {encode} from '../kgated/vocabulary.js';
import {csvFrames} from './csv.js';

/** @returns {{audio: boolean, text: boolean}} What a model takes besides CSV files. */
export function kindsOfInput(manifest) {
  const [spec] = manifest.frames;
  const isSingle = manifest.frames.length === 1;
  const isText = isSingle && !spec.shape.length && Object.hasOwn(manifest.vocabularies ?? {}, spec.name);
  return {audio: isSingle && Boolean(manifest.front_end), text: isText};
}

/**
 * @param {File} file CSV, WAV, or for a text model a text with the ending .txt.
 * @param {any} manifest Of the model.
 * @param {string[][]?} columns As for `csvFrames`.
 * @returns {Promise<any[]>} Arguments of `step` of one frame.
 * @throws {KgatedError} It is none of these, or not for this model.
 */
export async function framesOfFile(file, manifest, columns) {
  const kinds = kindsOfInput(manifest);
  const content = await file.arrayBuffer();
  if (!isRiff(content)) {
    const text = textOf(content, file.name);
    const isText = kinds.text && file.name.toLowerCase().endsWith('.txt');
    if (isText) return framesOfText(text.replace(/\r?\n$/, ''), manifest);
    const {feature_names: names, sample_period_s: period} = manifest;
    return csvFrames(text, manifest.frames, columns, {names, period});
  }
  if (!kinds.audio) {
    throw new KgatedError(
      'the model has no front end in its manifest, so it does not say how sound becomes frames: ' +
        'drop a CSV file of its frames',
    );
  }
  return audioFrames(readWav(content), manifest.front_end);
}

/** A frame per token of a text. */
export function framesOfText(text, manifest) {
  const ids = encode(manifest.vocabularies[manifest.frames[0].name], text);
  if (!ids.length) throw new KgatedError('the text has no token: write one or more');
  return Array.from(ids, (id) => Int32Array.of(id));
}

const isRiff = (content) =>
  /^(RIFF|RF64)/.test(new TextDecoder().decode(content.slice(0, 4)));

function textOf(content, name) {
  try {
    return new TextDecoder('utf-8', {fatal: true}).decode(content);
  } catch {
    throw new KgatedError(`${name} is neither a WAV file nor text in UTF-8: drop a CSV or WAV file`);
  }
}

/** The frames of a recording, resampled where its rate is another. */
export function audioFrames({rate, samples}, spec) {
  const frontEnd = new FrontEnd(spec);
  if (rate === spec.rate) return frontEnd.push(samples);
  const resampler = new Resampler(rate, spec.rate);
  const frames = frontEnd.push(resampler.push(samples));
  return [...frames, ...frontEnd.push(resampler.finish())];
}
