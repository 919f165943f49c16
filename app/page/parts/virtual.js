/** Long lists: only what is seen is in the document, and the next page is read before its end is seen. */
import { html, useEffect, useRef, useState } from "../ui.js";

const SPARE = 6; // rows drawn above and below what is seen

/**
 * A list of rows of one height in a box that scrolls.
 * @param {{ rows: any[], height: number, label: string, draw: (row: any, index: number) => any,
 *   total?: number, onEnd?: () => void, role?: string, head?: any, className?: string }} props
 *   `total`: rows that there are, read or not; `onEnd`: the end of what was read is near
 */
export function VirtualList({ rows, height, label, draw, total, onEnd, role = "list", head, className = "" }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [seen, setSeen] = useState({ top: 0, height: 600 });
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const look = () => setSeen({ top: element.scrollTop, height: element.clientHeight });
    const watch = new ResizeObserver(look);
    watch.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    look();
    return () => {
      watch.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  const first = Math.max(0, Math.floor(seen.top / height) - SPARE);
  const last = Math.min(rows.length, Math.ceil((seen.top + seen.height) / height) + SPARE);
  useEffect(() => {
    if (last >= rows.length - SPARE) onEnd?.();
  }, [last, rows.length, onEnd]);
  const above = { height: `${first * height}px` };
  const below = { height: `${Math.max(0, rows.length - last) * height}px` };
  return html`
    <div class=${`virtual ${className}`} ref=${box} role=${role} aria-label=${label} tabindex="0"
      aria-rowcount=${role === "table" ? total ?? rows.length : undefined}>
      ${head}
      <div style=${above} role="presentation"></div>
      ${rows.slice(first, last).map((row, at) => draw(row, first + at))}
      <div style=${below} role="presentation"></div>
    </div>`;
}
