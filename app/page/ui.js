/** What draws: Preact, its hooks, signals, and templates instead of JSX. Views import these from here. */
import { h, Fragment, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export {
  useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState,
} from "./vendor/hooks.js";
export { batch, computed, effect, signal } from "./vendor/signals.js";
export { Fragment, render };

/** @template T @typedef {import("./vendor/signals.js").Signal<T>} Signal */

/** Template of elements: html`<p class="x">${text}</p>`. Text is always a text node, never markup. */
export const html = htm.bind(h);
