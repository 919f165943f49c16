/** Compose: choose components, give an image, and see what each component gave to the answer. */
import { useAll, useRead } from "../api/requests.js";
import { PictureChoice } from "../compose/picture.js";
import { Side } from "../compose/side.js";
import { typedNumber } from "../parts/inputs.js";
import { Fault, Loading } from "../parts/states.js";
import { changeQuery, href } from "../router.js";
import { html, useState } from "../ui.js";

const SECOND = "b."; // names of the second side in the query
const LOOK_SECONDS = 15; // between looks whether something was deleted

/** @param {{ query: URLSearchParams }} props */
export function View({ query }) {
  const spaces = useAll("v1/spaces");
  const limits = useRead("v1/limits");
  const head = useRead("v1/receipts/head", {}, LOOK_SECONDS);
  const [picture, setPicture] = useState(/** @type {import("../compose/picture.js").Picture | null} */ (null));
  const [bounds, setBounds] = useState({ above: /** @type {number | null} */ (null), below: /** @type {number | null} */ (null) });
  const problem = spaces.problem ?? limits.problem;
  if (problem) return html`<h1>Compose</h1><${Fault} problem=${problem} again=${spaces.problem ? spaces.reload : limits.reload} />`;
  if (!spaces.isComplete || !limits.data) return html`<h1>Compose</h1><${Loading} />`;
  const isDouble = query.has(`${SECOND}components`) || query.has(`${SECOND}composition`);
  const side = { query, spaces: spaces.rows, limits: limits.data, receipts: head.data?.number ?? null, image: picture?.blob ?? null, bounds };
  const both = Object.fromEntries([...query].filter(([name]) => !["dataset", "image", "label", "split"].includes(name)));
  return html`
    <h1>Compose</h1>
    <${PictureChoice} query=${query} limits=${limits.data} picture=${picture} onPicture=${setPicture} />
    <div class="bar">
      ${isDouble
        ? html`<button onClick=${() => changeQuery(named(query, () => undefined))}>Close the second selection</button>
            <a class="button" href=${href(["evaluate"], both)}>Compare both on a dataset</a>`
        : html`<button onClick=${() => changeQuery(secondOf(query))}>Compare with another selection</button>`}
      <${Bounds} bounds=${bounds} onBounds=${setBounds} />
    </div>
    <div class=${isDouble ? "sides double" : "sides"}>
      <${Side} title=${isDouble ? "First selection" : "Selection"} prefix="" ...${side} />
      ${isDouble && html`<${Side} title="Second selection" prefix=${SECOND} ...${side} />`}
    </div>`;
}

/** Return the query of a second side that begins as the first one is; without a word of it, that is all components. @param {URLSearchParams} query */
function secondOf(query) {
  const same = named(query, (value) => value);
  return query.has("composition") || query.has("components") ? same : { ...same, [`${SECOND}components`]: "all" };
}

/** Return the second side's part of a query, made from the first one's. @param {URLSearchParams} query @param {(value: string | undefined) => string | undefined} make */
function named(query, make) {
  return Object.fromEntries(["composition", "components", "rule", "space"]
    .map((name) => [SECOND + name, make(query.get(name) ?? undefined)]));
}

/** @param {{ bounds: import("../compose/answer.js").Bounds, onBounds: (bounds: import("../compose/answer.js").Bounds) => void }} props */
function Bounds({ bounds, onBounds }) {
  return html`
    <details class="bounds"><summary>When to give no label</summary>
      <div class="bar">
        <label>Novelty above <input type="number" min="0" max="1" step="0.01" placeholder="0.99" onInput=${typedNumber((above) => onBounds({ ...bounds, above }))} /></label>
        <label>Margin below <input type="number" min="0" step="any" onInput=${typedNumber((below) => onBounds({ ...bounds, below }))} /></label>
      </div></details>`;
}
