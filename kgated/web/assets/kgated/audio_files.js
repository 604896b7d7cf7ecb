/** Samples of 16 bits from WAV files and from a microphone, as `kgated-edge live` reads them. */

import {KgatedError} from './errors.js';
import {rint} from './tensors.js';

const PCM = 1;
const EXTENSIBLE = 0xfffe;

/**
 * @param {ArrayBuffer} content A WAV file of PCM samples, 8, 16, 24 or 32 bits.
 * @returns {{rate: number, samples: Int16Array}} The mean of the channels, rounded down.
 */
export function readWav(content) {
  const data = new DataView(content);
  const tag = (at) => String.fromCharCode(...new Uint8Array(content, at, 4));
  if (content.byteLength < 12 || tag(0) !== 'RIFF' || tag(8) !== 'WAVE') {
    throw new KgatedError('this is not a WAV file: convert it with `sox IN OUT.wav`');
  }
  let format = null;
  for (let at = 12; at + 8 <= content.byteLength; ) {
    const size = data.getUint32(at + 4, true);
    if (tag(at) === 'fmt ') format = readFormat(data, at + 8);
    if (tag(at) === 'data' && format) {
      const end = Math.min(at + 8 + size, content.byteLength);
      return {rate: format.rate, samples: mono(data, at + 8, end, format)};
    }
    at += 8 + size + (size % 2);
  }
  throw new KgatedError('the WAV file has no samples: copy it again');
}

function readFormat(data, at) {
  const code = data.getUint16(at, true);
  const kind = code === EXTENSIBLE ? data.getUint16(at + 24, true) : code;
  const format = {
    channels: data.getUint16(at + 2, true),
    rate: data.getUint32(at + 4, true),
    width: data.getUint16(at + 14, true) / 8,
  };
  if (kind !== PCM || ![1, 2, 3, 4].includes(format.width) || !format.channels || !format.rate) {
    throw new KgatedError(
      'this is not a WAV file of PCM samples: convert it with ' +
        '`sox IN.wav -b 16 -e signed-integer OUT.wav`',
    );
  }
  return format;
}

/** The upper 16 bits of each sample, the mean of the channels. */
function mono(data, start, end, {channels, width}) {
  const read = {
    1: (at) => (data.getUint8(at) - 128) << 8,
    2: (at) => data.getInt16(at, true),
    3: (at) => data.getInt16(at + 1, true),
    4: (at) => data.getInt32(at, true) >> 16,
  }[width];
  const count = Math.floor((end - start) / (width * channels));
  return Int16Array.from({length: count}, (_, n) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += read(start + (n * channels + c) * width);
    return Math.floor(sum / channels);
  });
}

/** @param {Float32Array} floats -1..1. @returns {Int16Array} */
export function toSamples(floats) {
  return Int16Array.from(floats, (x) => rint(Math.min(Math.max(x, -1), 1) * 32767));
}
