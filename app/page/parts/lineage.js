/** What came from what: columns of boxes with lines between neighbours, each box a link. */
import { html } from "../ui.js";

const WIDTH = 144, HEIGHT = 34, ACROSS = 184, DOWN = 44, MOST = 8, LETTERS = 17;

/**
 * @typedef {{ text: string, href?: string, kind: string }} Box
 * @param {{ columns: Box[][], label: string }} props  empty columns are left out
 */
export function Lineage({ columns, label }) {
  const shown = columns.filter((column) => column.length > 0).map((column) => (column.length <= MOST ? column
    : [...column.slice(0, MOST - 1), { kind: column[0].kind, text: `${column.length - MOST + 1} more` }]));
  const rows = Math.max(...shown.map((column) => column.length));
  const height = rows * DOWN;
  /** @param {Box[]} column @param {number} index */
  const middle = (column, index) => (index + 0.5) * (height / column.length);
  return html`
    <div class="lineage">
      <svg width=${shown.length * ACROSS - (ACROSS - WIDTH) + 2} height=${height} role="group" aria-label=${label}>
        ${shown.slice(1).map((column, at) => column.map((_, to) => shown[at].map((__, from) => html`
          <path d=${curve(at * ACROSS + WIDTH + 1, middle(shown[at], from), (at + 1) * ACROSS + 1, middle(column, to))} />`)))}
        ${shown.map((column, at) => column.map((box, index) => html`
          <${Drawn} box=${box} x=${at * ACROSS + 1} y=${middle(column, index) - HEIGHT / 2} />`))}
      </svg>
    </div>`;
}

/** @param {{ box: Box, x: number, y: number }} props */
function Drawn({ box, x, y }) {
  const letters = [...box.text];
  const text = letters.length > LETTERS ? `${letters.slice(0, LETTERS - 1).join("")}…` : box.text;
  const drawn = html`
    <rect x=${x} y=${y} width=${WIDTH} height=${HEIGHT} rx="6" />
    <text x=${x + WIDTH / 2} y=${y + HEIGHT / 2 + 5} text-anchor="middle">${text}</text>
    <title>${`${box.kind}: ${box.text}`}</title>`;
  return box.href ? html`<a href=${box.href}>${drawn}</a>` : html`<g>${drawn}</g>`;
}

/** @param {number} x @param {number} y @param {number} toX @param {number} toY */
function curve(x, y, toX, toY) {
  const half = (x + toX) / 2;
  return `M${x} ${y}C${half} ${y} ${half} ${toY} ${toX} ${toY}`;
}
