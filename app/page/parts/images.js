/** Images of a dataset as a grid of any length: only what is seen is in the document and loaded. */
import { address } from "../api/client.js";
import { html, useEffect, useRef, useState } from "../ui.js";
import { VirtualList } from "./virtual.js";

const TILE = 132; // pixels, with the space between two
const HEIGHT = 156;

/** The address of an image, or of a copy that fits into a square. @param {string} dataset @param {string} image @param {number} [size] */
export function imageAddress(dataset, image, size) {
  return address(`v1/datasets/${encodeURIComponent(dataset)}/images/${encodeURIComponent(image)}`, { size }).href;
}

/** @param {{ dataset: string, image: string, text: string, size?: number }} props  shown half as large, for sharp screens */
export function Thumbnail({ dataset, image, text, size = 192 }) {
  return html`<img class="thumbnail" src=${imageAddress(dataset, image, size)} alt=${text} loading="lazy" width=${size / 2} height=${size / 2} />`;
}

/**
 * @param {{ rows: any[], label: string, draw: (row: any) => any, onEnd?: () => void }} props  `draw` fills a tile
 */
export function Grid({ rows, label, draw, onEnd }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [across, setAcross] = useState(4);
  useEffect(() => {
    if (!box.current) return undefined;
    const watch = new ResizeObserver(([{ contentRect }]) => setAcross(Math.max(1, Math.floor((contentRect.width - 20) / TILE))));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const lines = [];
  for (let start = 0; start < rows.length; start += across) lines.push(rows.slice(start, start + across));
  return html`
    <div ref=${box}>
      <${VirtualList} rows=${lines} height=${HEIGHT} label=${label} onEnd=${onEnd} draw=${(/** @type {any[]} */ line, /** @type {number} */ at) => html`
        <div class="tiles" role="presentation" key=${at}>
          ${line.map((row) => html`<div class="tile" role="listitem" key=${row.id}>${draw(row)}</div>`)}
        </div>`} />
    </div>`;
}
