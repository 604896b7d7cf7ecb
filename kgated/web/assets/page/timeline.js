/** The outputs over time, on a canvas. */

const MAX_POINTS = 400;
/** How many outputs are drawn. */
export const SERIES = 6;
const MARGIN = {left: 44, right: 8, top: 8, bottom: 8};

/** @returns {string} The color of an output, as CSS. */
export const seriesColor = (n) => `var(--series-${(n % SERIES) + 1})`;

/**
 * Draws the last outputs.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array[]} rows
 * @param {number} count Outputs per row; the first six are drawn.
 */
export function drawTimeline(canvas, rows, count) {
  const style = getComputedStyle(canvas);
  const color = (name) => style.getPropertyValue(name);
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  const points = rows.slice(-MAX_POINTS);
  const [low, high] = limitsOf(points, count);
  const y = (value) =>
    MARGIN.top + ((high - value) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
  drawAxis(context, {low, high, y, width, line: color('--line'), text: color('--quiet')});
  const step = (width - MARGIN.left - MARGIN.right) / (MAX_POINTS - 1);
  for (let n = Math.min(count, SERIES) - 1; n >= 0; n--) {
    context.strokeStyle = color(`--series-${n + 1}`);
    context.lineWidth = 2;
    context.beginPath();
    points.forEach((row, t) => context.lineTo(MARGIN.left + t * step, y(row[n])));
    context.stroke();
  }
}

function limitsOf(points, count) {
  let [low, high] = [0, 1];
  for (const row of points) {
    for (let n = 0; n < Math.min(count, SERIES); n++) {
      low = Math.min(low, row[n]);
      high = Math.max(high, row[n]);
    }
  }
  return [low, high];
}

function drawAxis(context, {low, high, y, width, line, text}) {
  context.strokeStyle = line;
  context.fillStyle = text;
  context.lineWidth = 1;
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  for (const value of new Set([low, 0, (low + high) / 2, high])) {
    context.beginPath();
    context.moveTo(MARGIN.left, y(value));
    context.lineTo(width - MARGIN.right, y(value));
    context.stroke();
    context.fillText(String(Number(value.toPrecision(2))), MARGIN.left - 6, y(value));
  }
}
