/** Samples of 16 bits from WAV files and from a microphone, as `kgated_edge.ingest.wav_files`. */

import {KgatedError} from './errors.js';
import {rint} from './tensors.js';

const [PCM, FLOAT, EXTENSIBLE] = [1, 3, 0xfffe];
const WIDTHS = {[PCM]: [8, 16, 24, 32], [FLOAT]: [32, 64]};
const OPEN_ENDED = new Set([0, 0x7fffffff, 0xffffffff]); // written before the size was known
const FULL_SCALE = 2 ** 15;
const MAX_RATE = 10 ** 6;
const MAX_BEHIND = 0x7fffffff - 2 ** 16;

/** A sample in -1..1 at an offset, by encoding and bits. */
const READERS = {
  [PCM]: {
    8: (data, at) => (data.getUint8(at) - 128) / 2 ** 7,
    16: (data, at) => data.getInt16(at, true) / 2 ** 15,
    24: (data, at) => ((data.getUint8(at) << 8) | (data.getInt16(at + 1, true) << 16)) / 2 ** 31,
    32: (data, at) => data.getInt32(at, true) / 2 ** 31,
  },
  [FLOAT]: {
    32: (data, at) => data.getFloat32(at, true),
    64: (data, at) => data.getFloat64(at, true),
  },
};

/**
 * @param {ArrayBuffer} content A WAV file: PCM of 8, 16, 24 or 32 bits, or float of 32 or 64.
 * @returns {{rate: number, samples: Int16Array}} The mean of the channels.
 * @throws {KgatedError} Another kind of file, one cut short or with further samples, NaN or inf.
 */
export function readWav(content) {
  const data = new DataView(content);
  const tag = (at) => String.fromCharCode(...new Uint8Array(content, at, 4));
  if (content.byteLength < 12 || !['RIFF', 'RF64'].includes(tag(0)) || tag(8) !== 'WAVE') {
    throw new KgatedError('this is not a WAV file: convert it, as by `sox IN OUT.wav`');
  }
  let format = null;
  let longSize = 0;
  for (let at = 12; at + 8 <= content.byteLength; ) {
    const size = data.getUint32(at + 4, true);
    if (tag(at) === 'data' && format) {
      const length = dataSize(size, longSize, data.getUint32(4, true) - at);
      if (length !== null) checkEnd(data, at + 8 + length + (length % 2), tag);
      return {rate: format.rate, samples: mono(data, at + 8, length, format)};
    }
    if (tag(at) === 'ds64' && size >= 16 && at + 24 <= content.byteLength) {
      longSize = Number(data.getBigUint64(at + 16, true));
    }
    if (tag(at) === 'fmt ') format = readFormat(data, at + 8, size);
    at += 8 + size + (size % 2);
  }
  throw cutHeader();
}

/** The bytes of samples, or null where they go up to the end; `behind`: bytes after their header. */
function dataSize(size, longSize, behind) {
  if (!OPEN_ENDED.has(size)) return size;
  if (size === 0 && behind >= 8 && behind < MAX_BEHIND) return 0;
  return longSize || null;
}

/** Refuses further samples after the end of the first ones. */
function checkEnd(data, start, tag) {
  for (let at = start; at + 8 <= data.byteLength; ) {
    const name = tag(at);
    if (['data', 'RIFF', 'RF64'].includes(name)) {
      const kind = name === 'data' ? 'chunk of samples' : 'WAV file';
      throw new KgatedError(
        `a second ${kind} follows the first, and most programs leave it out: save each ` +
          'recording in a file of its own, or all samples in one chunk',
      );
    }
    const size = data.getUint32(at + 4, true);
    at += 8 + size + (size % 2);
  }
}

const cutHeader = () =>
  new KgatedError('the WAV file is cut short in its header: copy or record it again');

function readFormat(data, at, size) {
  if (size < 16 || at + size > data.byteLength) throw cutHeader();
  const first = data.getUint16(at, true);
  const code = first === EXTENSIBLE && size >= 26 ? data.getUint16(at + 24, true) : first;
  const channels = data.getUint16(at + 2, true);
  const rate = data.getUint32(at + 4, true);
  const [align, bits] = [data.getUint16(at + 12, true), data.getUint16(at + 14, true)];
  const isRead = WIDTHS[code]?.includes(bits) && channels > 0 && rate >= 1 && rate <= MAX_RATE;
  if (!isRead) {
    throw new KgatedError(
      `samples of encoding ${code} with ${bits} bits, ${channels} channels and ${rate} Hz are ` +
        'not read: convert it, as by `sox IN.wav -b 16 -e signed-integer OUT.wav`',
    );
  }
  if (![0, Math.floor((channels * bits) / 8)].includes(align)) {
    throw new KgatedError(
      `${channels} channels of ${bits} bits stand in ${align} bytes, which are not read: ` +
        'convert it, as by `sox IN.wav -b 16 -e signed-integer OUT.wav`',
    );
  }
  return {rate, channels, bytes: bits / 8, read: READERS[code][bits]};
}

function mono(data, start, size, {channels, bytes, read}) {
  const width = channels * bytes;
  const left = data.byteLength - start;
  if (size !== null && left < size) {
    throw new KgatedError(
      `the WAV file is cut short: ${Math.floor(left / width)} of ${Math.floor(size / width)} ` +
        'samples are there: copy or record it again',
    );
  }
  const count = Math.floor((size ?? left) / width);
  return Int16Array.from({length: count}, (_, n) => {
    let total = 0;
    for (let c = 0; c < channels; c++) total += read(data, start + (n * channels + c) * bytes);
    return toSample(total, FULL_SCALE / channels);
  });
}

function toSample(value, scale) {
  if (!Number.isFinite(value)) {
    throw new KgatedError('there is NaN or inf among the samples: convert it again');
  }
  return Math.min(Math.max(rint(value * scale), -FULL_SCALE), FULL_SCALE - 1);
}

/** @param {Float32Array} floats In -1..1; louder ones saturate. @returns {Int16Array} */
export function toSamples(floats) {
  return Int16Array.from(floats, (value) => toSample(value, FULL_SCALE));
}
