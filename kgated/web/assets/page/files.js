/** Frames from a file that the user dropped. */

import {readWav} from '../kgated/audio_files.js';
import {KgatedError} from '../kgated/errors.js';
import {FrontEnd} from '../kgated/front_end.js';
import {Resampler} from '../kgated/resample.js';
import {csvFrames} from './csv.js';

/** @returns {{csv: boolean, audio: boolean}} The kinds of files that a model takes. */
export function kindsOfFiles(manifest) {
  const isSingle = manifest.frames.length === 1;
  return {csv: isSingle, audio: isSingle && Boolean(manifest.front_end)};
}

/**
 * @param {File} file CSV or WAV.
 * @returns {Promise<Float32Array[]>}
 * @throws {KgatedError} It is neither, or not for this model.
 */
export async function framesOfFile(file, manifest) {
  const kinds = kindsOfFiles(manifest);
  if (!kinds.csv) throw new KgatedError('files are for models with one input: use kgated.js');
  const content = await file.arrayBuffer();
  if (!isRiff(content)) return csvFrames(textOf(content, file.name), manifest.frames[0]);
  if (!kinds.audio) {
    throw new KgatedError(
      'the model has no front end in its manifest, so it does not say how sound becomes frames: ' +
        'drop a CSV file of its frames',
    );
  }
  return audioFrames(readWav(content), manifest.front_end);
}

const isRiff = (content) =>
  /^(RIFF|RF64)/.test(new TextDecoder().decode(content.slice(0, 4)));

function textOf(content, name) {
  try {
    return new TextDecoder('utf-8', {fatal: true}).decode(content);
  } catch {
    throw new KgatedError(`${name} is neither a WAV file nor text: drop a CSV or WAV file`);
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
