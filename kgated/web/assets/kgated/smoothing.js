/** Averages of scores over time; the twin of `kgated_edge.events.smoothing`. */

const ROUNDER = 1.5 * 2 ** 28; // adding it rounds a score to multiples of 2**-24

/** @returns {number} The number of steps that last at least `seconds`. */
export const stepsOf = (seconds, step) => Math.ceil(Number((seconds / step).toFixed(6)));

/**
 * @param {{smoothing: string, smoothing_s: number}} settings
 * @param {number} size Scores per step.
 * @param {number} stepSeconds
 * @returns {{scale: number, push: (scores: ArrayLike<number>) => Float64Array}} The average is what
 *     `push` returns / `scale`.
 */
export function makeSmoother(settings, size, stepSeconds) {
  const seconds = settings.smoothing_s;
  if (settings.smoothing === 'exponential' && seconds > 0) {
    return new ExponentialAverage(size, -Math.expm1(-stepSeconds / seconds));
  }
  return new MovingAverage(size, Math.max(1, stepsOf(seconds, stepSeconds)));
}

/** The mean over the last n steps; steps before the first count as zero. */
class MovingAverage {
  constructor(size, steps) {
    this.scale = steps;
    this.rows = Array.from({length: steps}, () => new Float64Array(size).fill(ROUNDER));
    this.sums = new Float64Array(size);
    this.place = 0;
  }

  push(scores) {
    const row = this.rows[this.place];
    for (let n = 0; n < row.length; n++) {
      this.sums[n] -= row[n];
      row[n] = scores[n] + ROUNDER;
      this.sums[n] += row[n];
    }
    this.place = (this.place + 1) % this.scale;
    return this.sums;
  }
}

/** s = a · score + (1 - a) · s, from s = 0. */
class ExponentialAverage {
  scale = 1;

  constructor(size, weight) {
    this.weight = weight;
    this.average = new Float64Array(size);
  }

  push(scores) {
    for (let n = 0; n < this.average.length; n++) {
      const rounded = scores[n] + ROUNDER - ROUNDER;
      this.average[n] = this.average[n] * (1 - this.weight) + rounded * this.weight;
    }
    return this.average;
  }
}
