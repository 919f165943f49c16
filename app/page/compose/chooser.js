/** Components to choose: search, all or none, and for each one its weight. */
import { typed, typedNumber } from "../parts/inputs.js";
import { Empty } from "../parts/states.js";
import { VirtualList } from "../parts/virtual.js";
import { counted } from "../parts/texts.js";
import { href } from "../router.js";
import { html, useMemo, useState } from "../ui.js";
import { isReady } from "./selection.js";

const ROW = 84; // pixels, as style.css has it

/** Ranges of the sliders; numbers beyond can be typed. @type {Record<string, { min: number, max: number, step: number }>} */
const RANGES = { weighted: { min: -1, max: 1, step: 0.01 }, joint: { min: 0, max: 3, step: 0.1 } };

/** What a weight does. @type {Record<string, string>} */
const MEANINGS = {
  average: "Move a weight to go on with rule weighted.",
  weighted: "Weights follow in this page, without a request. Below 0, a component is subtracted.",
  joint: "A component's images count as often as its weight says. The service solves anew for each weight.",
  discriminant: "A component's images count as often as its weight says. The service solves anew for each weight.",
};

/** @typedef {import("./selection.js").Model} Model */

/**
 * @param {{ model: Model, components: any[], isComplete: boolean, onWeights: (weights: Record<string, number>) => void, onAll: () => void }} props
 */
export function Chooser({ model, components, isComplete, onWeights, onAll }) {
  const [search, setSearch] = useState("");
  const found = useMemo(() => components.filter(matching(search)), [components, search]);
  const weights = Object.fromEntries(model.members.map(({ id, weight }) => [id, weight]));
  const set = (/** @type {any[]} */ rows, /** @type {boolean} */ isIn) => {
    const weight = weightOfNew(model);
    const changed = { ...weights };
    for (const { id } of rows.filter(isReady)) {
      if (!isIn) delete changed[id];
      else if (!Object.hasOwn(changed, id)) changed[id] = weight;
    }
    onWeights(changed);
  };
  const all = () => (search || model.rule === "weighted" ? set(found, true) : onAll());
  if (isComplete && components.length === 0) {
    return html`<${Empty}><p>This space has no component yet.</p><p><a class="button" href=${href(["datasets", "upload"])}>Upload a dataset</a></p></${Empty}>`;
  }
  return html`
    <div class="bar">
      <label>Search <input type="search" placeholder="name or label" value=${search} onInput=${typed(setSearch)} /></label>
      <button onClick=${all}>${search ? `Choose ${found.length} found` : "All"}</button>
      <button onClick=${() => (search ? set(found, false) : onWeights({}))}>${search ? "Leave found out" : "None"}</button>
    </div>
    <p class="quiet" role="status">${model.members.length.toLocaleString("en")} of ${counted(components.length, "component")} chosen${isComplete ? "" : ", reading more …"}. ${MEANINGS[model.rule]}</p>
    <${VirtualList} rows=${found} height=${ROW} label="Components" className="weights"
      draw=${(/** @type {any} */ row) => html`<${Row} key=${row.id} component=${row} rule=${model.rule} weight=${weights[row.id]}
        onIn=${(/** @type {boolean} */ isIn) => set([row], isIn)} onWeight=${(/** @type {number} */ weight) => onWeights({ ...weights, [row.id]: weight })} />`} />`;
}

/** @param {{ component: any, rule: string, weight: number | undefined, onIn: (isIn: boolean) => void, onWeight: (weight: number) => void }} props */
function Row({ component, rule, weight, onIn, onWeight }) {
  const isIn = weight !== undefined;
  const range = RANGES[rule === "average" ? "weighted" : rule === "discriminant" ? "joint" : rule] ?? RANGES.weighted;
  const [draft, setDraft] = useState(/** @type {string | null} */ (null)); // what is being typed stays, whatever is drawn meanwhile
  const given = typedNumber((value) => value !== null && (range.min < 0 || value >= 0) && onWeight(value));
  return html`
    <div class="member" role="listitem">
      <label class="inline"><input type="checkbox" checked=${isIn} disabled=${!isReady(component)} onChange=${() => onIn(!isIn)} />
        <span><span class="name" title=${component.name}>${component.name}</span><span class="quiet" title=${component.labels.join(", ")}>${aboutOf(component)}</span></span></label>
      ${isIn && html`
        <input type="number" step="any" aria-label=${`Weight of ${component.name}, number`} value=${draft ?? Number(weight.toFixed(4))}
          onInput=${typed(setDraft)} onBlur=${() => setDraft(null)} onChange=${(/** @type {Event} */ event) => { setDraft(null); given(event); }} />
        <input type="range" ...${range} aria-label=${`Weight of ${component.name}`} value=${weight} onInput=${given} />`}
      ${!isReady(component) && html`<a class="tag warn" href=${href(["components", component.id])}>${component.retraining ? "retraining" : component.status}</a>`}
    </div>`;
}

/** @param {any} component */
function aboutOf({ labels }) {
  const some = labels.slice(0, 4).join(", ");
  return labels.length > 4 ? `${some} and ${labels.length - 4} more` : some;
}

/** A component comes in as the others count on average. @param {Model} model */
function weightOfNew({ rule, members }) {
  if (rule !== "weighted" || members.length === 0) return 1;
  return Number((members.reduce((sum, { weight }) => sum + weight, 0) / members.length).toFixed(4));
}

/** @param {string} search */
function matching(search) {
  const wanted = search.trim().toLowerCase();
  return (/** @type {any} */ { id, name, labels }) => !wanted || id === wanted || [name, ...labels].some((text) => text.toLowerCase().includes(wanted));
}
