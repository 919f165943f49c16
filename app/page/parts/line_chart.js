/** Curves in SVG, with round numbers at the axes, and the numbers as a table for who does not see curves. */
import { html, useEffect, useRef, useState } from "../ui.js";

const HEIGHT = 240, LEFT = 60, RIGHT = 12, TOP = 10, BOTTOM = 38;
const MOST = 400; // points of a curve; of more, the least and the greatest of each stretch are drawn
const ROWS = 50; // of the table

/** @typedef {[x: number, y: number]} Point */

/**
 * @param {{ lines: { title: string, points: Point[] }[], xTitle: string, yTitle: string, text: string, isLog?: boolean, mark?: number }} props
 *   `isLog`: by powers of ten along x; `mark`: an x to be marked
 */
export function LineChart({ lines, xTitle, yTitle, text, isLog = false, mark }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [width, setWidth] = useState(640);
  useEffect(() => {
    if (!box.current) return undefined;
    const watch = new ResizeObserver(([{ contentRect }]) => setWidth(Math.max(240, contentRect.width)));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const all = lines.flatMap(({ points }) => points);
  const along = (/** @type {number} */ x) => (isLog ? Math.log10(x) : x);
  const [x0, x1] = bounds(all.map(([x]) => along(x))), [y0, y1] = bounds(all.map(([, y]) => y));
  const toX = (/** @type {number} */ x) => LEFT + ((along(x) - x0) / (x1 - x0)) * (width - LEFT - RIGHT);
  const toY = (/** @type {number} */ y) => HEIGHT - BOTTOM - ((y - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
  return html`
    <div ref=${box} class="curves">
      <svg width=${width} height=${HEIGHT} role="img" aria-label=${text}>
        ${ticks(y0, y1, 5).map((y) => html`<path class="grid" d=${`M${LEFT} ${toY(y)}H${width - RIGHT}`} /><text x=${LEFT - 6} y=${toY(y) + 4} text-anchor="end">${shown(y)}</text>`)}
        ${ticks(x0, x1, width / 90).filter((x) => !isLog || Number.isInteger(x)).map((x) => (isLog ? 10 ** x : x)).map((x) => html`<text x=${toX(x)} y=${HEIGHT - BOTTOM + 16} text-anchor="middle">${shown(x)}</text>`)}
        ${mark !== undefined && html`<path class="mark" d=${`M${toX(mark)} ${TOP}V${HEIGHT - BOTTOM}`} />`}
        <text x=${(LEFT + width - RIGHT) / 2} y=${HEIGHT - 4} text-anchor="middle">${xTitle}</text>
        ${lines.map(({ points }, index) => html`<path style=${{ stroke: `var(--c${index % 8})` }} d=${`M${thinned(points).map(([x, y]) => `${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`).join("L")}`} />`)}
      </svg>
      ${lines.length > 1 && html`<ul class="words">${lines.map(({ title }, index) => html`<li style=${{ borderColor: `var(--c${index % 8})` }}>${title}</li>`)}</ul>`}
      <details><summary>The numbers</summary>
        ${lines.map(({ title, points }) => html`
          <table><caption>${title}</caption><tr><th>${xTitle}</th><th>${yTitle}</th></tr>
            ${points.filter((_, at) => at % Math.ceil(points.length / ROWS) === 0 || at === points.length - 1).map(([x, y]) => html`<tr><td class="number">${shown(x)}</td><td class="number">${y.toPrecision(5)}</td></tr>`)}</table>`)}
      </details>
    </div>`;
}

/** Of long curves the extremes of each stretch, so that no peak is lost. @param {Point[]} points */
function thinned(points) {
  if (points.length <= MOST) return points;
  const size = Math.ceil((2 * points.length) / MOST), kept = [];
  for (let start = 0; start < points.length; start += size) {
    const some = points.slice(start, start + size).sort((a, b) => a[1] - b[1]);
    kept.push(...[some[0], some[some.length - 1]].sort((a, b) => a[0] - b[0]));
  }
  return kept;
}

/** @param {number[]} values @returns {[number, number]} */
function bounds(values) {
  const [least, most] = values.reduce(([low, high], each) => [Math.min(low, each), Math.max(high, each)], [Infinity, -Infinity]);
  return least < most ? [least, most] : [least - 1, least + 1];
}

/** Round numbers between two others, about so many. @param {number} from @param {number} to @param {number} count */
function ticks(from, to, count) {
  const rough = (to - from) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = (/** @type {number} */ ([1, 2, 5, 10].find((each) => each * power >= rough))) * power;
  return Array.from({ length: Math.floor(to / step) - Math.ceil(from / step) + 1 }, (_, at) => (Math.ceil(from / step) + at) * step);
}

/** @param {number} value */
function shown(value) {
  return value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e6) ? value.toPrecision(3) : value.toLocaleString("en", { maximumSignificantDigits: 6 });
}
