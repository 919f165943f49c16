/** Lists of the service as tables: filters in the address, states, and rows that are read page by page. */
import { useRows } from "../api/requests.js";
import { changeQuery, place } from "../router.js";
import { html, useEffect } from "../ui.js";
import { Choice, typed } from "./inputs.js";
import { Empty, Fault, Loading } from "./states.js";
import { Table } from "./table.js";
import { counted } from "./texts.js";

const SECONDS = 3; // between two looks at a list in which something is under way

/**
 * @typedef {{ name: string, label: string, options?: string[] }} Filter
 * @typedef {{ noun: string, path: string, columns: import("./table.js").Column[], filters?: Filter[], orders?: Record<string, string>,
 *   isMoving?: (row: any) => boolean, keyOf?: (row: any) => string, fixed?: Record<string, string>, children?: any }} ListingProps
 * @param {ListingProps} props  `orders`: what people call each `order`, the first is taken without a choice;
 *   `children`: what an empty list shows
 */
export function Listing({ noun, path, columns, filters = [], orders = {}, isMoving, keyOf, fixed = {}, children }) {
  const query = place.value.query;
  const names = filters.map(({ name }) => name);
  const asked = Object.fromEntries([...names, "order"].map((name) => [name, query.get(name) ?? ""]));
  const isNarrowed = names.some((name) => asked[name]);
  const { rows, next, problem, isLoading, more, reload } = useRows(path, { ...asked, order: asked.order || Object.keys(orders)[0], ...fixed });
  const isShort = next === null && isMoving !== undefined && rows.some(isMoving);
  useEffect(() => {
    if (!isShort) return undefined;
    const timer = setInterval(() => document.hidden || reload(), 1000 * SECONDS);
    return () => clearInterval(timer);
  }, [isShort, reload]);
  const isEmpty = !isLoading && !problem && rows.length === 0;
  return html`
    ${(filters.length > 0 || Object.keys(orders).length > 1) && (isNarrowed || !isEmpty) && html`
      <form class="filters" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()} aria-label="Narrow the list">
        ${filters.map((filter) => html`<${Narrow} key=${filter.name} filter=${filter} value=${asked[filter.name]} />`)}
        ${Object.keys(orders).length > 1 && html`
          <${Choice} label="Order" value=${asked.order || Object.keys(orders)[0]} options=${Object.entries(orders)} onChoice=${(/** @type {string} */ order) => changeQuery({ order })} />`}
      </form>`}
    ${problem && html`<${Fault} problem=${problem} again=${reload} />`}
    ${isEmpty && (isNarrowed ? html`<${Empty}><p>Nothing fits these filters.</p><//>` : children)}
    ${isLoading && rows.length === 0 && html`<${Loading} />`}
    ${rows.length > 0 && html`
      <${Table} columns=${columns} rows=${rows} label=${`${noun}s`} onEnd=${more} keyOf=${keyOf ?? ((/** @type {any} */ row) => row.id)} />
      <p class="quiet" role="status">${counted(rows.length, noun)}${next === null ? "" : " so far; scroll for more"}</p>`}`;
}

/** @param {{ filter: Filter, value: string }} props */
function Narrow({ filter: { name, label, options }, value }) {
  if (options) return html`<${Choice} label=${label} value=${value} none="all" options=${options} onChoice=${(/** @type {string} */ chosen) => changeQuery({ [name]: chosen })} />`;
  return html`<label>${label} <input key=${value} defaultValue=${value} onChange=${typed((text) => changeQuery({ [name]: text.trim() }))} maxlength="255" /></label>`;
}
