/**
 * Reads the manifest out of a `.tflite` file. Offsets are not trusted: each read is bounded.
 *
 * The rules are those of `kgated_edge.format.tflite_file` and `reader`.
 */

import {KgatedError} from './errors.js';
import {decodeTensor} from './tensors.js';

const FORMAT_VERSION = 1;
const MANIFEST_NAME = 'kgated_manifest';
const [SUBGRAPHS, BUFFERS, METADATA] = [2, 4, 6]; // of Model
const IS_VARIABLE = 5; // of Tensor
const DIGEST_KEY = '"file_sha256":"';

/**
 * Reads and checks a file.
 * @param {Uint8Array} bytes The whole file.
 * @returns {Promise<any>} The manifest, its golden arrays decoded.
 * @throws {KgatedError} It is none that runs here; the message says why and what to do.
 */
export async function readManifest(bytes) {
  if (bytes.length < 8 || ascii(bytes.subarray(4, 8)) !== 'TFL3') {
    throw new KgatedError('this is not a TFLite file: give one made by `kgated convert`');
  }
  try {
    const [start, end] = manifestSpan(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
    const text = new TextDecoder('utf-8', {fatal: true}).decode(bytes.subarray(start, end));
    await checkDigest(bytes, start, text);
    return checked(JSON.parse(text), hasVariables(bytes));
  } catch (error) {
    if (error instanceof KgatedError) throw error;
    throw new KgatedError(`the file is cut short or damaged (${error.message}): copy it again`);
  }
}

function checked(manifest, variables) {
  if (manifest.format_version > FORMAT_VERSION) {
    throw new KgatedError(
      `its manifest has format ${manifest.format_version}, this version reads ${FORMAT_VERSION}: ` +
        'update the site with `kgated web`',
    );
  }
  if (variables) {
    throw new KgatedError(
      'the file has variable tensors, such as those of lowering="fused", which LiteRT.js does not ' +
        'run: convert the model with `--mode stream`, or with another lowering',
    );
  }
  if (manifest.mode !== 'stream' || (manifest.batch ?? 1) > 1) {
    throw new KgatedError(
      'the file is not a stream with a batch of 1: convert the model with `--mode stream`',
    );
  }
  return decodeGolden({results_per_step: 1, threshold: 0.5, ...manifest});
}

function decodeGolden(manifest) {
  const decode = (specs, arrays) =>
    Object.fromEntries(specs.map((spec) => [spec.name, decodeTensor(arrays[spec.name], spec)]));
  const {frames, outputs, tolerance} = manifest.golden;
  const golden = {
    frames: decode(manifest.frames, frames),
    outputs: decode(manifest.outputs, outputs),
    tolerance,
  };
  return {...manifest, golden};
}

/** SHA-256 of the file with its own digest counted as `0`; browsers have it in secure contexts. */
async function checkDigest(bytes, start, text) {
  const place = text.indexOf(DIGEST_KEY) + DIGEST_KEY.length;
  const expected = text.slice(place, place + 64);
  if (!text.includes(DIGEST_KEY) || !/^[0-9a-f]{64}$/.test(expected)) {
    throw new KgatedError('its manifest has no digest of the file: copy or convert it again');
  }
  if (!globalThis.crypto?.subtle) return;
  const copy = bytes.slice();
  // The text before the digest may hold characters of several bytes.
  const offset = start + new TextEncoder().encode(text.slice(0, place)).length;
  copy.fill('0'.charCodeAt(0), offset, offset + 64);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', copy));
  const actual = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (actual !== expected) {
    throw new KgatedError('its digest does not match, it is damaged or edited: copy it again');
  }
}

function manifestSpan(data) {
  const model = indirect(data, 0);
  const buffers = tables(data, model, BUFFERS);
  for (const entry of tables(data, model, METADATA)) {
    const [start, end] = vector(data, field(data, entry, 0), 1);
    const name = ascii(new Uint8Array(data.buffer, data.byteOffset + start, end - start));
    if (name === MANIFEST_NAME) {
      const at = field(data, entry, 1);
      return vector(data, field(data, buffers[at ? data.getUint32(at, true) : 0], 0), 1);
    }
  }
  throw new KgatedError('it has no kgated manifest: convert it with `kgated convert`');
}

/**
 * @param {Uint8Array} bytes
 * @returns {boolean} Whether an operator of the file keeps a state in a tensor.
 */
export function hasVariables(bytes) {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isVariable = (tensor) => {
    const at = field(data, tensor, IS_VARIABLE);
    return at > 0 && data.getUint8(at) > 0;
  };
  const subgraphs = tables(data, indirect(data, 0), SUBGRAPHS);
  return subgraphs.some((subgraph) => tables(data, subgraph, 0).some(isVariable));
}

const ascii = (bytes) => String.fromCharCode(...bytes.subarray(0, 64));
const indirect = (data, at) => at + data.getUint32(at, true);

/** Offset of a table's field, 0 where it is absent. */
function field(data, table, slot) {
  const vtable = table - data.getInt32(table, true);
  const place = 4 + 2 * slot;
  if (place >= data.getUint16(vtable, true)) return 0;
  const offset = data.getUint16(vtable + place, true);
  return offset ? table + offset : 0;
}

/** [start, end] of a vector's items, inside the file. */
function vector(data, at, itemSize) {
  const start = indirect(data, at) + 4;
  const end = start + itemSize * data.getUint32(start - 4, true);
  if (end > data.byteLength) throw new RangeError('an offset is outside of it');
  return [start, end];
}

function tables(data, table, slot) {
  const at = field(data, table, slot);
  if (!at) return [];
  const [start, end] = vector(data, at, 4);
  return Array.from({length: (end - start) / 4}, (_, n) => indirect(data, start + 4 * n));
}
