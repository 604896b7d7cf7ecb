/** Scores per step to events; the twin of `kgated_edge.events`. */

import {KgatedError} from './errors.js';
import {makeSmoother, stepsOf} from './smoothing.js';
import {sizeOf} from './tensors.js';

const NONE = -1;
const BACKGROUND_NAMES = new Set([
  ...['_background_', '_background_noise_', '_noise_', '_silence_', '_unknown_', 'background'],
  ...['noise', 'none', 'other', 'silence', 'unknown'],
]);
const DEFAULTS = {
  smoothing: 'mean',
  smoothing_s: 0.3,
  min_duration_s: 0,
  refractory_s: 0.5,
  score: 'output',
  background: [],
  default: {on: 0.5, off: 0.4, priority: 0},
  classes: {},
};

/** @returns {string[]} A name per score of a model. */
export function scoreLabels(manifest) {
  const {labels, outputs} = manifest;
  if (settingsOf(manifest).score !== 'output') return ['anomaly'];
  const size = sizeOf(outputs[0]);
  const numbered = Array.from({length: size}, (_, k) => (size === 1 ? 'event' : String(k)));
  return labels?.length === size ? labels : numbered;
}

/** The settings of the manifest, or defaults without the classes that are background by name. */
export function settingsOf(manifest) {
  if (manifest.events) return manifest.events;
  const labels = manifest.labels ?? [];
  const background = labels.filter((name) => BACKGROUND_NAMES.has(name.toLowerCase()));
  const all = background.length === labels.length;
  return {...DEFAULTS, background: all ? [] : background};
}

/**
 * A detector for a model, and a function that makes its scores of each step in order.
 * @returns {{detector: EventDetector,
 *     scores: (frame: Float32Array, output: Float32Array) => ArrayLike<number>}}
 * @throws {KgatedError} The model has no sample period, or several results per step.
 */
export function eventDetector(manifest) {
  if (manifest.sample_period_s === null) {
    throw new KgatedError('events need a sample period: convert it with `--sample-period-ms`');
  }
  const {results_per_step: results, outputs} = manifest;
  if (results > 1 || outputs[0].shape.length !== 1) {
    throw new KgatedError('events need one vector of scores per step');
  }
  const step = manifest.sample_period_s * manifest.frames_per_step;
  const settings = settingsOf(manifest);
  return {
    detector: new EventDetector(scoreLabels(manifest), step, settings),
    scores: scorer(settings.score),
  };
}

function scorer(score) {
  let last = null;
  if (score === 'reconstruction') return (frame, output) => [rootMeanSquare(frame, output)];
  if (score === 'output') return (_, output) => output;
  return (frame, output) => {
    const predicted = last;
    last = output;
    return [predicted ? rootMeanSquare(frame, predicted) : 0];
  };
}

function rootMeanSquare(frame, output) {
  const sum = output.reduce((total, value, n) => total + Math.fround(frame[n] - value) ** 2, 0);
  return Math.fround(Math.sqrt(sum / output.length));
}

/**
 * @typedef {object} Event Times are seconds from the first step.
 * @property {string} label
 * @property {number} start_s
 * @property {number} end_s
 * @property {number} peak_s
 * @property {number} score
 * @property {number} detected_s
 */

/** Finds events in scores, in constant memory; see the Python class of that name. */
export class EventDetector {
  /**
   * @param {string[]} labels
   * @param {number} stepSeconds
   * @param {any} [settings] As the section `events` of the manifest.
   */
  constructor(labels, stepSeconds, settings = DEFAULTS) {
    this.labels = labels;
    this.stepSeconds = stepSeconds;
    this.settings = settings;
    const {background, classes} = settings;
    const isBackground = (label) => background.includes(label);
    this.thresholds = labels.map((label) =>
      isBackground(label) ? null : (classes[label] ?? settings.default),
    );
    this.minSteps = Math.max(1, stepsOf(settings.min_duration_s, stepSeconds));
    this.quietSteps = stepsOf(settings.refractory_s, stepSeconds);
    this.reset();
  }

  /** Starts anew, at time zero. */
  reset() {
    this.smoother = makeSmoother(this.settings, this.labels.length, this.stepSeconds);
    this.time = 0;
    /** @type {Map<number, {start: number, peak: number, peakStep: number}>} */
    this.tracks = new Map();
    this.open = this.confirmed = NONE;
    this.quietUntil = this.labels.map(() => 0);
  }

  /** @returns {Event?} The event that is detected and has not ended. */
  get openEvent() {
    return this.open === NONE ? null : this.#event(this.open, this.time);
  }

  /**
   * @param {ArrayLike<number>} scores One per label.
   * @returns {Event[]} The events that ended with this step.
   */
  step(scores) {
    if (scores.length !== this.labels.length || !Array.from(scores).every(Number.isFinite)) {
      throw new KgatedError(`scores must be ${this.labels.length} finite numbers`);
    }
    const values = this.smoother.push(scores);
    const step = this.time++;
    const events = [];
    values.forEach((value, k) => this.#track(k, value, step, values, events));
    this.#choose(step, values, events);
    return events;
  }

  /** @returns {Event[]} The open event, as if it ended now; then as after `reset`. */
  finish() {
    const event = this.openEvent;
    this.reset();
    return event ? [event] : [];
  }

  #track(k, value, step, values, events) {
    const limits = this.thresholds[k];
    const track = this.tracks.get(k);
    if (!limits) return;
    if (!track) {
      const starts = value >= limits.on * this.smoother.scale && step >= this.quietUntil[k];
      if (starts) this.tracks.set(k, {start: step, peak: value, peakStep: step});
    } else if (value < limits.off * this.smoother.scale) {
      if (k === this.open) events.push(this.#close(step, values));
      else this.tracks.delete(k);
    } else if (value > track.peak) {
      track.peak = value;
      track.peakStep = step;
    }
  }

  #choose(step, values, events) {
    let best = NONE;
    for (const [k, {start}] of this.tracks) {
      if (step - start + 1 >= this.minSteps && this.#isBefore(k, best, values)) best = k;
    }
    if (best === NONE) return;
    if (this.open !== NONE) {
      if (this.#priority(best) <= this.#priority(this.open)) return;
      const track = this.tracks.get(best);
      events.push(this.#close(step, values));
      this.tracks.set(best, track);
    }
    this.open = best;
    this.confirmed = step;
  }

  /** Whether class a comes before b: higher priority, then higher value, then lower number. */
  #isBefore(a, b, values) {
    if (b === NONE) return true;
    const difference = this.#priority(a) - this.#priority(b) || values[a] - values[b] || b - a;
    return difference > 0;
  }

  #priority(k) {
    return this.thresholds[k].priority;
  }

  #close(step, values) {
    const k = this.open;
    const event = this.#event(k, step);
    this.tracks.delete(k);
    this.open = this.confirmed = NONE;
    this.quietUntil[k] = step + this.quietSteps;
    for (const waiting of this.tracks.keys()) {
      this.tracks.set(waiting, {start: step, peak: values[waiting], peakStep: step});
    }
    return event;
  }

  #event(k, end) {
    const track = this.tracks.get(k);
    const seconds = (steps) => Number((steps * this.stepSeconds).toFixed(9));
    return {
      label: this.labels[k],
      start_s: seconds(track.start),
      end_s: seconds(end),
      peak_s: seconds(track.peakStep),
      score: track.peak / this.smoother.scale,
      detected_s: seconds(this.confirmed + 1),
    };
  }
}
