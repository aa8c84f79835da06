// Charts as SVG: axes, lines, bands and histograms.

const WIDTH = 560;
const MARGIN = { left: 52, right: 10, top: 8, bottom: 36 };

function svgElement(name, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

// A few round numbers in a range, at least `least` apart.
function ticks([low, high], least = 0) {
  const rough = Math.max((high - low) / 5, least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let number = Math.ceil(low / step - 1e-9); number * step <= high + 1e-9 * step; number++) found.push(number * step);
  return found;
}

function short(value) {
  if (Math.abs(value) >= 1e6) return `${+(value / 1e6).toPrecision(4)}M`;
  if (Math.abs(value) >= 1e4) return `${+(value / 1e3).toPrecision(4)}k`;
  return String(+value.toPrecision(4));
}

// The range of all finite numbers, optionally with a margin; never empty.
function rangeOf(values, widen = 0) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) [low, high] = [0, 1];
  const extra = (high - low) * widen || (high === low ? Math.abs(low) * 0.1 || 1 : 0);
  return [low - extra, high + extra];
}

// Clears a chart and draws its axes; returns the functions that map a value to a position, and `add`.
function axes(svg, { x, y, xLabel, label, height = 300, yTickLeast = 0 }) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const right = WIDTH - MARGIN.right, bottom = height - MARGIN.bottom;
  const px = (value) => MARGIN.left + ((value - x[0]) / (x[1] - x[0])) * (right - MARGIN.left);
  const py = (value) => bottom - ((value - y[0]) / (y[1] - y[0])) * (bottom - MARGIN.top);
  const add = (name, attributes, text) => svg.appendChild(svgElement(name, attributes, text));
  for (const value of ticks(y, yTickLeast)) {
    add("line", { class: "grid", x1: MARGIN.left, x2: right, y1: py(value), y2: py(value) });
    add("text", { x: MARGIN.left - 6, y: py(value) + 4, "text-anchor": "end" }, short(value));
  }
  for (const value of ticks(x)) add("text", { x: px(value), y: bottom + 16, "text-anchor": "middle" }, short(value));
  add("text", { x: (MARGIN.left + right) / 2, y: height - 5, "text-anchor": "middle" }, xLabel);
  return { px, py, add, x, y };
}

// An SVG path through points, with gaps at missing values.
function path(xs, ys, { px, py }) {
  let text = "", pen = "M";
  ys.forEach((value, index) => {
    if (value === null || !Number.isFinite(value)) { pen = "M"; return; }
    text += `${pen}${px(xs[index]).toFixed(1)} ${py(value).toFixed(1)}`;
    pen = "L";
  });
  return text;
}

function curve(chart, xs, ys, colour, attributes = {}) {
  return chart.add("path", { class: "curve", stroke: `var(--${colour})`, d: path(xs, ys, chart), ...attributes });
}

function band(chart, xs, lows, highs, opacity) {
  const there = path(xs, highs, chart), back = path([...xs].reverse(), [...lows].reverse(), chart);
  chart.add("path", { class: "band", opacity, d: `${there}L${back.slice(1)}Z` });
}

// A histogram of values in a range, with a line at `limit` if given.
function histogram(svg, values, { x, bins, limit, xLabel, label }) {
  const found = values.filter((value) => value !== null);
  const counts = new Array(bins).fill(0);
  for (const value of found) counts[Math.min(bins - 1, Math.floor(((value - x[0]) / (x[1] - x[0])) * bins))]++;
  const chart = axes(svg, { x, y: [0, Math.max(1, ...counts) * 1.05], xLabel, label, yTickLeast: 1 });
  const width = (x[1] - x[0]) / bins;
  counts.forEach((count, bin) => {
    if (count === 0) return;
    const left = chart.px(x[0] + bin * width), right = chart.px(x[0] + (bin + 1) * width);
    // One teacher in a thousand should still be visible.
    const height = Math.max(2, chart.py(0) - chart.py(count));
    const bar = chart.add("rect", { class: "bar", x: left + 0.5, width: right - left - 1, y: chart.py(0) - height, height });
    bar.appendChild(svgElement("title", {}, `${count} from ${short(x[0] + bin * width)} to ${short(x[0] + (bin + 1) * width)}`));
  });
  if (limit !== undefined) {
    chart.add("line", { class: "limit", x1: chart.px(limit), x2: chart.px(limit), y1: chart.py(0), y2: MARGIN.top });
  }
}

// Writes [colour, text] pairs under a chart.
function legend(element, entries) {
  element.replaceChildren(...entries.map(([colour, text]) => {
    const entry = document.createElement("span"), mark = document.createElement("i");
    mark.style.color = `var(--${colour})`;
    entry.append(mark, text);
    return entry;
  }));
}

// The p-quantile of sorted numbers, interpolated as in NumPy.
function quantile(sorted, p) {
  const place = p * (sorted.length - 1), below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

function sortedNumbers(values) {
  return values.filter((value) => value !== null && Number.isFinite(value)).sort((a, b) => a - b);
}
