/** Step times: of a run, and measured in blocks, since a browser's clock is coarse. */

const KEEP = 20_000;
const BLOCK_MS = 2;
const TOTAL_MS = 400;
const MAX_BLOCKS = 200;

/** @returns {number} The time that this fraction of the times do not exceed. */
export function quantile(times, fraction) {
  const sorted = Float64Array.from(times).sort();
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)];
}

/** The times of the last steps of a run, in milliseconds. */
export class StepTimes {
  /** @param {number?} deadline Milliseconds. */
  constructor(deadline) {
    this.deadline = deadline;
    this.times = [];
    this.steps = this.late = 0;
  }

  add(time) {
    this.steps += 1;
    if (this.deadline !== null && time > this.deadline) this.late += 1;
    this.times.push(time);
    if (this.times.length > KEEP) this.times.splice(0, KEEP / 2);
  }
}

/**
 * Measures the steps of a model on its golden frames. Each time is the mean over a block of steps
 * that together last longer than the clock's resolution.
 * @returns {Promise<{p50: number, p99: number, steps: number, stepsPerBlock: number}>} Milliseconds.
 */
export async function measure(model) {
  const frames = model.goldenSteps();
  let step = 0;
  const run = (count) => {
    const start = performance.now();
    for (let n = 0; n < count; n++) model.step(frames[step++ % frames.length]);
    return performance.now() - start;
  };
  model.reset();
  let stepsPerBlock = 1;
  while (run(stepsPerBlock) < BLOCK_MS) stepsPerBlock *= 2;
  const times = [];
  const end = performance.now() + TOTAL_MS;
  while (times.length < MAX_BLOCKS && (performance.now() < end || times.length < 20)) {
    times.push(run(stepsPerBlock) / stepsPerBlock);
    if (times.length % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  model.reset();
  const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)];
  return {p50, p99, steps: times.length * stepsPerBlock, stepsPerBlock};
}
