/** Tables of any length: columns with a title and a cell, rows that are read page by page. */
import { html } from "../ui.js";
import { VirtualList } from "./virtual.js";

const ROW = 44; // pixels, as style.css has it

/**
 * @template [Row=any]
 * @typedef {{ title: string, cell: (row: Row) => any, width?: string, isNumber?: boolean }} Column
 */

/**
 * @param {{ columns: Column[], rows: any[], label: string, total?: number, onEnd?: () => void,
 *   keyOf: (row: any) => string }} props
 */
export function Table({ columns, rows, label, total, onEnd, keyOf }) {
  const grid = { gridTemplateColumns: columns.map(({ width }) => width ?? "minmax(6rem, 1fr)").join(" ") };
  const head = html`
    <div class="row head" role="row" style=${grid} aria-rowindex="1">
      ${columns.map(({ title, isNumber }) => html`<span role="columnheader" class=${isNumber ? "number" : ""}>${title}</span>`)}
    </div>`;
  return html`
    <${VirtualList} rows=${rows} height=${ROW} label=${label} role="table" className="table" head=${head}
      total=${(total ?? rows.length) + 1} onEnd=${onEnd}
      draw=${(/** @type {any} */ row, /** @type {number} */ index) => html`
        <div class="row" role="row" key=${keyOf(row)} style=${grid} aria-rowindex=${index + 2}>
          ${columns.map(({ cell, isNumber }) => html`<span role="cell" class=${isNumber ? "number" : ""}>${cell(row)}</span>`)}
        </div>`} />`;
}
