/** What is on the page. */

import {showInputs} from './input_view.js';
import {SERIES, drawTimeline, seriesColor} from './timeline.js';
import {quantile} from './timing.js';

const MAX_BARS = 12;
const MAX_EVENTS = 200;
const [MEASURED, LIVE] = [1, 2]; // columns of the table of times
const byId = (id) => document.getElementById(id);

/** Writes into the page's elements. */
export class View {
  constructor() {
    const redraw = () => this.session && this.showSession(this.session);
    addEventListener('resize', redraw);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  }

  /** The file, and what it takes. */
  showModel(manifest, kinds, eventsNote) {
    byId('name').textContent = document.title = manifest.model.name;
    const facts = factsOf(manifest).map((fact) => element('li', '', fact));
    byId('facts').replaceChildren(...facts);
    showInputs(manifest, kinds);
    byId('events-note').textContent = eventsNote || 'None yet.';
    byId('main').hidden = false;
  }

  showSelftest({passed, maxError, tolerance, results}) {
    const text = passed
      ? `Self-test passed: ${results} outputs agree with the file's golden ones to ` +
        `${short(maxError)} (tolerance ${short(tolerance)}).`
      : `Self-test failed: outputs differ from the file's golden ones by ${short(maxError)}, ` +
        `the tolerance is ${short(tolerance)}.`;
    this.#status(text, passed);
  }

  fail(message) {
    byId('name').textContent = 'The model does not run here';
    this.#status(message, false);
  }

  #status(text, good) {
    byId('status').textContent = text;
    byId('status').className = `status ${good ? 'good' : 'bad'}`;
  }

  say(message, isError = false) {
    byId('message').textContent = message;
    byId('message').className = isError ? 'bad' : '';
  }

  showMicrophone(isOn) {
    byId('microphone').textContent = isOn ? 'Stop the microphone' : 'Start the microphone';
    byId('microphone').classList.toggle('active', isOn);
  }

  clear(session) {
    this.say('');
    byId('events').querySelector('tbody').replaceChildren();
    this.showSession(session);
  }

  /** The present of a run, at the browser's next picture. */
  showSession(session) {
    this.session = session;
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.#draw(this.session);
    });
  }

  #draw(session) {
    const period = session.deadline === null ? null : session.deadline / 1000;
    const steps = session.times.steps;
    byId('position').textContent = period ? `at ${(steps * period).toFixed(2)} s` : `step ${steps}`;
    showBars(session);
    drawTimeline(byId('timeline'), session.rows, session.labels.length);
    showEvents(session);
    showTimes(LIVE, timesOf(session.times));
    byId('save').disabled = !session.rows.length;
  }

  showMeasured({p50, p99, steps, stepsPerBlock}, deadline) {
    showTimes(MEASURED, [milliseconds(p50), milliseconds(p99), deadlineText(deadline), '–']);
    byId('times-note').textContent =
      (deadline === null
        ? 'The file has no sample period, so there is no deadline. '
        : 'A step must end before the next frame comes, its deadline. ') +
      `The measured times are of ${steps} steps of the golden frames, each time the mean of ` +
      `${stepsPerBlock} steps, since a browser's clock is coarse.`;
  }

  /** Lets the user save the outputs of a run. */
  save(session) {
    const rows = session.rows.map((row, n) => {
      const values = Array.from(row, (value) => Number(value.toPrecision(9)));
      return [session.count - session.rows.length + n + 1, ...values].join(',');
    });
    const header = ['result', ...session.labels.map((name) => `"${name.replaceAll('"', '""')}"`)];
    const blob = new Blob([[header.join(','), ...rows, ''].join('\n')], {type: 'text/csv'});
    const link = element('a');
    link.href = URL.createObjectURL(blob);
    link.download = 'outputs.csv';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

function factsOf(manifest) {
  const {recipe, model, sample_period_s: period, frames} = manifest;
  const shapes = frames.map(({name, shape, vocabulary}) => `${name} (${shape.join(', ') || (vocabulary === null ? 'number' : 'token')})`);
  const facts = [
    `quantize ${recipe.quantize}`,
    `${model.parameters.toLocaleString('en')} parameters`,
    shapes.join(', '),
  ];
  if (period) facts.push(`${short(period * 1000)} ms per frame`);
  if (manifest.front_end) facts.push(`${manifest.front_end.kind}, ${manifest.front_end.rate} Hz`);
  return facts;
}

function showBars(session) {
  const last = session.rows.at(-1);
  const shown = session.labels.slice(0, MAX_BARS);
  const bars = byId('bars');
  if (bars.childElementCount !== 3 * shown.length) bars.replaceChildren(...shown.flatMap(barOf));
  const largest = (last ?? []).reduce((max, value) => Math.max(max, Math.abs(value)), 1);
  shown.forEach((_, n) => {
    const value = last ? last[n] : 0;
    const [, track, text] = Array.from(bars.children).slice(3 * n, 3 * n + 3);
    track.firstChild.style.width = `${(100 * Math.abs(value)) / largest}%`;
    text.textContent = last ? value.toFixed(3) : '–';
  });
}

function barOf(label, n) {
  const name = element('span', 'label', label);
  name.title = label;
  if (n < SERIES) name.style.setProperty('--series', seriesColor(n)); // it has a line over time
  const track = element('span', 'track');
  const fill = element('span', 'fill');
  fill.style.cssText = `display:block;background:${seriesColor(n)}`;
  track.append(fill);
  return [name, track, element('span', 'value')];
}

function showEvents(session) {
  const {openEvent, ended} = session;
  const events = [...(openEvent ? [{...openEvent, isOpen: true}] : []), ...ended.toReversed()];
  byId('events').hidden = !events.length;
  if (session.events) byId('events-note').textContent = events.length ? '' : 'None yet.';
  const rows = events.slice(0, MAX_EVENTS).map(({label, start_s, end_s, score, isOpen}) => {
    const row = element('tr');
    const end = isOpen ? 'now' : end_s.toFixed(2);
    const cells = [label, start_s.toFixed(2), end, score.toFixed(3)];
    row.append(...cells.map((text) => element('td', '', text)));
    return row;
  });
  byId('events').querySelector('tbody').replaceChildren(...rows);
}

function timesOf({times, steps, late, deadline}) {
  const quantiles = [0.5, 0.99].map((q) => (times.length ? milliseconds(quantile(times, q)) : '–'));
  const lateSteps = deadline === null ? '–' : `${late} of ${steps}`;
  return [...quantiles, deadlineText(deadline), lateSteps];
}

const deadlineText = (deadline) => (deadline === null ? '–' : milliseconds(deadline));

/** Writes a column of the table of times. */
function showTimes(column, values) {
  const rows = byId('times').querySelectorAll('tbody tr');
  values.forEach((value, n) => (rows[n].children[column].textContent = value));
}

/** A time that a coarse clock measured: below its resolution it is not zero. */
function milliseconds(time) {
  if (time === 0) return '< 0.1 ms';
  return time < 1 ? `${short(1000 * time)} µs` : `${short(time)} ms`;
}

/** Three digits, small numbers with an exponent. */
function short(value) {
  const rounded = Number(value.toPrecision(3));
  return rounded !== 0 && Math.abs(rounded) < 1e-3 ? rounded.toExponential() : String(rounded);
}

function element(tag, className = '', text = '') {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}
