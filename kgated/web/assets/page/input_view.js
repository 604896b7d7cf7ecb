/** The elements of the page that take input. */

import {KgatedError} from '../kgated/errors.js';
import {sizeOf} from '../kgated/tensors.js';

const byId = (id) => document.getElementById(id);

/** Shows what a model takes. */
export function showInputs(manifest, kinds) {
  byId('drop-text').textContent = dropText(manifest.frames, kinds);
  byId('microphone').hidden = !kinds.audio;
  byId('text-form').hidden = !kinds.text;
  const rows = manifest.frames.map((spec) => {
    const label = document.createElement('label');
    label.textContent = manifest.frames.length > 1 ? `Columns of ${spec.name} ` : 'Columns ';
    const field = document.createElement('input');
    field.dataset.input = spec.name;
    field.placeholder = 'names or numbers, such as a,b or 2,3';
    label.append(field);
    return label;
  });
  byId('columns').replaceChildren(...rows);
}

/**
 * @returns {string[][]?} The columns that the user named, by input; null for all.
 * @throws {KgatedError} Some inputs have columns, and others none.
 */
export function chosenColumns() {
  const fields = Array.from(byId('columns').querySelectorAll('input'));
  const named = fields.filter((field) => field.value.trim());
  if (!named.length) return null;
  if (named.length < fields.length) {
    const {input} = fields.find((field) => !field.value.trim()).dataset;
    throw new KgatedError(`name the columns of '${input}' too, or those of no input`);
  }
  return fields.map((field) => field.value.split(',').map((name) => name.trim()));
}

function dropText(specs, kinds) {
  const groups = specs.map((spec) => {
    const size = sizeOf(spec);
    const what = spec.vocabulary === null ? 'number' : 'id';
    const count = size === 1 ? `1 ${what}` : `${size} ${what}s`;
    return specs.length > 1 ? `${spec.name} (${count})` : count;
  });
  const files = kinds.audio ? 'a WAV file, or a CSV file of frames' : 'a CSV file of frames';
  const text = kinds.text ? ', or a text with the ending .txt' : '';
  const order = specs.length > 1 ? ', in this order' : '';
  return `Drop ${files}: ${groups.join(', ')} a line${order}${text}.`;
}
