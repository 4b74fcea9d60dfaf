/** The charts of docs/performance.md: plain SVG, one colour a runtime. */

/** @typedef {import("../bench/harness.ts").Row} Row */

/** @type {Record<string, string>} */
const COLORS = { node: "#2f7d32", deno: "#1f5fbf", bun: "#c2600a", workerd: "#6b7280" };
const FONT = 'font-family="system-ui, sans-serif"';
/** Room for the names of cases. */
const LABELS = 400;
const WIDTH = 960;

/**
 * @param {string} text
 * @returns {string}
 */
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {string} [more] attributes
 * @returns {string}
 */
const text = (x, y, content, more = "") =>
  `<text x="${x}" y="${y}" font-size="12" fill="#222" ${FONT} ${more}>${escaped(content)}</text>`;

/**
 * @param {number} height
 * @param {string} title
 * @param {string[]} runtimes
 * @param {string[]} body
 * @returns {string}
 */
function svg(height, title, runtimes, body) {
  const legend = runtimes.map((runtime, i) => {
    const x = WIDTH - 90 * (runtimes.length - i);
    const box = `<rect x="${x}" y="13" width="12" height="12" fill="${COLORS[runtime] ?? "#999"}"/>`;
    return box + text(x + 17, 23, runtime);
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<title>${escaped(title)}</title>`,
    text(12, 24, title, 'font-weight="600"'),
    ...legend,
    ...body,
    "</svg>",
    "",
  ].join("\n");
}

/**
 * @param {Row[]} rows
 * @returns {string[]} runtimes, in their usual order
 */
const runtimesOf = (rows) =>
  Object.keys(COLORS).filter((runtime) => rows.some((row) => row.runtime === runtime));

/**
 * Bars of ratios, a group of runtimes for each case; the line is 1.
 *
 * @param {Row[]} rows
 * @param {string} title
 * @param {RegExp} cases to show
 * @returns {string | undefined}
 */
export function ratioChart(rows, title, cases) {
  const shown = rows.filter((row) => row.ratio !== null && cases.test(row.case));
  if (shown.length === 0) return undefined;
  const runtimes = runtimesOf(shown);
  const names = [...new Set(shown.map((row) => row.case))];
  const most = Math.min(Math.max(...shown.map((row) => row.ratio ?? 0), 1.1), 4);
  const scale = (WIDTH - LABELS - 60) / most;
  const bar = 9;
  const step = runtimes.length * bar + 8;
  const top = 44;
  const body = names.flatMap((name, i) => {
    const y = top + i * step;
    const bars = runtimes.flatMap((runtime, j) => {
      const ratio = shown.find((row) => row.case === name && row.runtime === runtime)?.ratio;
      if (ratio === undefined || ratio === null) return [];
      const width = Math.min(ratio, most) * scale;
      const at = y + j * bar;
      return [
        `<rect x="${LABELS}" y="${at}" width="${width.toFixed(1)}" height="${bar - 1}" fill="${COLORS[runtime]}"/>`,
        `<text x="${(LABELS + width + 4).toFixed(1)}" y="${at + 8}" font-size="9" fill="#444" ${FONT}>${ratio.toFixed(2)}</text>`,
      ];
    });
    const label = text(LABELS - 8, y + (runtimes.length * bar) / 2 + 4, name, 'text-anchor="end"');
    return [label, ...bars];
  });
  const height = top + names.length * step + 16;
  const x = (LABELS + scale).toFixed(1);
  body.push(
    `<line x1="${x}" x2="${x}" y1="${top - 6}" y2="${height - 12}" stroke="#222" stroke-dasharray="3 3"/>`,
    text(Number(x), top - 8, "as fast", 'text-anchor="middle"'),
  );
  return svg(height, title, runtimes, body);
}

const UNITS = /** @type {Record<string, number>} */ ({ KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 });

/**
 * @param {string} size such as "64 MiB" or "1000"
 * @returns {number}
 */
function amount(size) {
  const [number = "", unit = ""] = size.split(" ");
  return Number(number) * (UNITS[unit] ?? 1);
}

/**
 * Lines of cost against size, the size on a logarithmic axis. The pattern's first group names the line,
 * its second the size.
 *
 * @param {Row[]} rows
 * @param {string} title
 * @param {RegExp} pattern
 * @returns {string | undefined}
 */
export function costChart(rows, title, pattern) {
  const points = rows.flatMap((row) => {
    const match = pattern.exec(row.case);
    if (!match) return [];
    const [, name = "", size = ""] = match;
    return [{ name, size, at: Math.log(amount(size)), cost: row.median, runtime: row.runtime }];
  });
  if (points.length < 2) return undefined;
  const [left, right, top, bottom] = [60, WIDTH - 30, 50, 330];
  const low = Math.min(...points.map(({ at }) => at));
  const high = Math.max(...points.map(({ at }) => at));
  const most = Math.max(...points.map(({ cost }) => cost)) * 1.1;
  const x = (/** @type {number} */ at) => left + ((at - low) / (high - low || 1)) * (right - left);
  const y = (/** @type {number} */ cost) => bottom - (cost / most) * (bottom - top);
  const runtimes = Object.keys(COLORS).filter((name) => points.some((p) => p.runtime === name));
  const names = [...new Set(points.map(({ name }) => name))];
  const body = [];
  for (let i = 0; i <= 4; i++) {
    const cost = (most * i) / 4;
    const at = y(cost).toFixed(1);
    body.push(`<line x1="${left}" x2="${right}" y1="${at}" y2="${at}" stroke="#ddd"/>`);
    body.push(text(left - 8, Number(at) + 4, String(Math.round(cost)), 'text-anchor="end"'));
  }
  for (const size of new Set(points.map((point) => point.size))) {
    const at = x(Math.log(amount(size)));
    body.push(text(Number(at.toFixed(1)), bottom + 18, size, 'text-anchor="middle"'));
  }
  names.forEach((name, i) => {
    const dashes = i === 0 ? "" : 'stroke-dasharray="6 4"';
    const from = left + 10 + i * 200;
    body.push(
      `<line x1="${from}" x2="${from + 28}" y1="${bottom + 38}" y2="${bottom + 38}" stroke="#444" stroke-width="2" ${dashes}/>`,
    );
    body.push(text(from + 34, bottom + 42, name));
    for (const runtime of runtimes) {
      const own = points.filter((point) => point.name === name && point.runtime === runtime);
      own.sort((a, b) => a.at - b.at);
      const path = own.map(({ at, cost }) => `${x(at).toFixed(1)},${y(cost).toFixed(1)}`).join(" ");
      body.push(
        `<polyline points="${path}" fill="none" stroke="${COLORS[runtime]}" stroke-width="2" ${dashes}/>`,
      );
    }
  });
  return svg(bottom + 60, title, runtimes, body);
}

/**
 * Percentiles on a logarithmic axis: a line from the lowest to the highest for each case and runtime, a
 * dot for each. Cases end in the percentile's name.
 *
 * @param {Row[]} rows
 * @param {string} title
 * @returns {string | undefined}
 */
export function latencyChart(rows, title) {
  const shown = rows.filter((row) => row.median > 0 && /, (p\d+|longest)$/.test(row.case));
  if (shown.length === 0) return undefined;
  const runtimes = runtimesOf(shown);
  const nameOf = (/** @type {Row} */ row) => row.case.replace(/, [^,]+$/, "");
  const names = [...new Set(shown.map(nameOf))];
  const low = Math.floor(Math.log10(Math.min(...shown.map((row) => row.median))));
  const high = Math.ceil(Math.log10(Math.max(...shown.map((row) => row.median))));
  const scale = (WIDTH - LABELS - 40) / (high - low || 1);
  const x = (/** @type {number} */ value) => LABELS + (Math.log10(value) - low) * scale;
  const bar = 11;
  const step = runtimes.length * bar + 10;
  const top = 60;
  const bottom = top + names.length * step;
  const body = [];
  for (let power = low; power <= high; power++) {
    const at = x(10 ** power).toFixed(1);
    body.push(`<line x1="${at}" x2="${at}" y1="${top - 8}" y2="${bottom}" stroke="#ddd"/>`);
    body.push(text(Number(at), top - 14, String(10 ** power), 'text-anchor="middle"'));
  }
  names.forEach((name, i) => {
    const y = top + i * step;
    body.push(text(LABELS - 12, y + (runtimes.length * bar) / 2 + 2, name, 'text-anchor="end"'));
    runtimes.forEach((runtime, j) => {
      const own = shown.filter((row) => nameOf(row) === name && row.runtime === runtime);
      if (own.length === 0) return;
      const at = y + j * bar + bar / 2;
      const places = own.map((row) => x(row.median));
      body.push(
        `<line x1="${Math.min(...places).toFixed(1)}" x2="${Math.max(...places).toFixed(1)}" y1="${at}" y2="${at}" stroke="${COLORS[runtime]}" stroke-width="2"/>`,
      );
      for (const place of places) {
        body.push(
          `<circle cx="${place.toFixed(1)}" cy="${at}" r="3.5" fill="${COLORS[runtime]}"/>`,
        );
      }
    });
  });
  return svg(bottom + 14, title, runtimes, body);
}
