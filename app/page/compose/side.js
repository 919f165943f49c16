/** One side of the composer: a selection with its components, and its answer to the image. */
import { useAll, useRead, useRows } from "../api/requests.js";
import { BASE } from "../algebra/shares.js";
import { Choice } from "../parts/inputs.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { changeQuery, href } from "../router.js";
import { html, useEffect, useMemo, useRef, useState } from "../ui.js";
import { Accuracy, Answer } from "./answer.js";
import { useAnswer, whyNoParts } from "./answering.js";
import { Chooser } from "./chooser.js";
import { Saving } from "./saving.js";
import { modelOf, queryOf, readSelection, RULES, selectionOf } from "./selection.js";

const REST = 300; // milliseconds until the address follows a change
const LINEAR_SCOPES = ["head", "head2toe"];

/** @typedef {import("./selection.js").Selection} Selection */

/**
 * @param {{ title: string, prefix: string, query: URLSearchParams, spaces: any[], limits: any, receipts: number | null,
 *   image: Blob | null, bounds: import("./answer.js").Bounds }} props  `receipts`: how many there are; one more means that something was deleted or changed
 */
export function Side({ title, prefix, query, spaces, limits, receipts, image, bounds }) {
  const [selection, change] = useSelection(query, prefix);
  const { stored, opened, meant, space, list, model, nameOf } = useModel(selection, spaces);
  const evaluations = useRows("v1/evaluations", { space: space?.name, status: "ready", order: "-created_at" }, 100);
  const [wantsParts, setWantsParts] = useState(false);
  const isLasting = Boolean(meant?.all || meant?.composition); // what the service refines
  const isRefinable = model?.rule === "joint" && !LINEAR_SCOPES.includes(space.scope) && isLasting && !wantsParts;
  const without = model ? whyNoParts(model, limits) : "";
  const answer = useAnswer(list.isComplete ? image : null, model, !without && !isRefinable);
  useEffect(answer.forget, [list.rows]); // what was told by components that are gone
  useGrowth(receipts, () => {
    stored.reload();
    list.reload();
  });
  const problem = stored.problem ?? list.problem;
  if (problem) {
    return html`<${Fault} problem=${problem} again=${stored.problem ? stored.reload : list.reload} />
      ${stored.problem && html`<button onClick=${() => change({ ...EMPTY, all: true })}>Go on with all components</button>`}`;
  }
  if (meant && !space) return html`<${Empty}><p>There is no space ${meant.space}.</p></${Empty}>`;
  if (!meant || !model) return html`<${Loading} />`;
  const edit = (/** @type {Partial<Selection>} */ changes) => change({ ...meant, space: space.name, rule: model.rule, composition: "", ...changes });
  const gone = list.isComplete ? Object.keys(meant.weights).filter((id) => !list.rows.some((each) => each.id === id)) : [];
  return html`
    <section class="side" aria-label=${title}>
      <${Choices} ...${{ title, space, spaces, model, edit }} open=${(/** @type {string} */ name) => change({ ...EMPTY, composition: name })} />
      ${gone.length > 0 && html`<${Gone} ids=${gone} nameOf=${nameOf} onDrop=${() => edit({ weights: omit(meant.weights, gone) })} />`}
      <div class="composer">
        <${Result} ...${{ image, model, answer, bounds, nameOf }} isComplete=${list.isComplete} why=${without || (isRefinable ? ONE_SHOT : "")} isRetold=${!without && isRefinable} onParts=${() => setWantsParts(true)}
          onLeave=${(/** @type {string} */ id) => { edit({ all: false, weights: omit(weightsOf(model), [id]) }); answer.forget(); list.reload(); }}>
          <${Accuracy} model=${model} evaluations=${evaluations.rows} evaluate=${href(["evaluate"], queryOf(meant))} />
        </${Result}>
        <div class="panel">
          <${Chooser} model=${model} components=${list.rows} isComplete=${list.isComplete} onAll=${() => edit({ all: true, weights: {} })}
            onWeights=${(/** @type {Record<string, number>} */ weights) => edit(reweighed(model, weights))} />
          <${Saving} key=${opened?.name ?? ""} model=${model} opened=${opened} onSaved=${(/** @type {any} */ made) => { change({ ...EMPTY, composition: made.name }); stored.reload(); }} />
        </div>
      </div>
    </section>`;
}

/**
 * What a selection means now: the stored composition that it names, its space, and the components there.
 * @param {Selection} selection @param {any[]} spaces
 */
function useModel(selection, spaces) {
  const stored = useRead(selection.composition ? `v1/compositions/${encodeURIComponent(selection.composition)}` : null);
  const opened = useRef(/** @type {any} */ (null));
  if (stored.data) opened.current = stored.data;
  const meant = !selection.composition ? selection : stored.data?.name === selection.composition ? selectionOf(stored.data) : null;
  const space = meant && (spaces.find(({ name }) => name === (meant.space || "default")) ?? (meant.space ? null : spaces[0]));
  const list = useAll(space ? "v1/components" : null, { space: space?.name, order: "name" });
  const model = useMemo(() => meant && space && modelOf(meant, list.rows, space), [JSON.stringify(meant), list.rows, space]);
  const names = useRef(/** @type {Map<string, string>} */ (new Map())); // of what is deleted, too
  for (const { id, name } of list.rows) names.current.set(id, name);
  const nameOf = (/** @type {string} */ id) => (id === BASE ? "base" : names.current.get(id) ?? id);
  return { stored, opened: opened.current, meant, space, list, model, nameOf };
}

/** Call when a count that was known is another one. @param {number | null} count @param {() => void} call */
function useGrowth(count, call) {
  const known = useRef(count);
  useEffect(() => {
    if (known.current !== null && known.current !== count) call();
    known.current = count ?? known.current;
  }, [count]);
}

const ONE_SHOT = "At this scope the joint answer may be refined, and then it is no sum over components.";
/** @type {Selection} */
const EMPTY = { space: "", rule: "", composition: "", all: false, weights: {} };

/**
 * The selection that the address names; the address follows its changes.
 * @param {URLSearchParams} query @param {string} prefix @returns {[Selection, (selection: Selection) => void]}
 */
function useSelection(query, prefix) {
  const [selection, setSelection] = useState(() => readSelection(query, prefix));
  const said = JSON.stringify(queryOf(readSelection(query, prefix), prefix));
  const written = useRef(said);
  useEffect(() => {
    if (said !== written.current) setSelection(readSelection(query, prefix));
    written.current = said;
  }, [said]);
  useEffect(() => {
    const wanted = queryOf(selection, prefix);
    const timer = setTimeout(() => {
      written.current = JSON.stringify(wanted);
      if (written.current !== said) changeQuery(wanted);
    }, REST);
    return () => clearTimeout(timer);
  }, [selection]);
  return [selection, setSelection];
}

/** @param {{ title: string, space: any, spaces: any[], model: import("./selection.js").Model, edit: (changes: Partial<Selection>) => void, open: (name: string) => void }} props */
function Choices({ title, space, spaces, model, edit, open }) {
  const compositions = useAll("v1/compositions", { space: space.name });
  const { composition } = model.selection;
  const rules = Object.keys(RULES).filter((rule) => rule !== "discriminant" || LINEAR_SCOPES.includes(space.scope));
  const ruled = (/** @type {string} */ rule) => edit({ rule, ...(rule === "weighted" || !model.selection.all ? { all: false, weights: startOf(rule, model) } : {}) });
  return html`
    <div class="bar">
      <h2>${composition || title}</h2>
      ${spaces.length > 1 && html`<${Choice} label="Space" value=${space.name} options=${spaces.map(({ name }) => name)} onChoice=${(/** @type {string} */ name) => edit({ ...EMPTY, space: name, all: true, rule: "" })} />`}
      <${Choice} label="Rule" value=${model.rule} options=${rules} onChoice=${ruled} />
      ${compositions.rows.length > 0 && html`<${Choice} label="Open" none="a composition …" value=${composition} options=${compositions.rows.map(({ name }) => name)} onChoice=${(/** @type {string} */ name) => name && open(name)} />`}
    </div>`;
}

/** @param {any} props */
function Result({ image, model, isComplete, answer, bounds, nameOf, why, isRetold, onParts, onLeave, children }) {
  const { shown, problem, isAsking, isOld, ask } = answer;
  const deleted = problem?.code === "component_deleted" ? model.members.find((/** @type {any} */ { id }) => problem.message.includes(id)) : null;
  return html`
    <div class="panel result" aria-busy=${isAsking}>
      <p class="asking" role="status">${isAsking ? `Asking the service …${shown && isOld ? " Below is the answer before." : ""}` : ""}</p>
      ${!image && html`<${Empty}><p>Give an image above to see the answer.</p></${Empty}>`}
      ${image && !isComplete && html`<${Loading} text="Reading the components …" />`}
      ${image && isComplete && !model.members.some((/** @type {any} */ { weight }) => weight !== 0) && html`<${Empty}><p>Choose a component: none is chosen with a weight.</p></${Empty}>`}
      ${problem && html`<${Fault} problem=${problem} again=${deleted ? undefined : ask} />`}
      ${problem?.document.retraining && html`<p class="notice">Trained again: ${problem.document.retraining.map(nameOf).join(", ")}.</p>`}
      ${problem?.code === "no_components" && html`<p><a class="button primary" href=${href(["datasets", "upload"])}>Upload a dataset</a></p>`}
      ${deleted && html`<button class="primary" onClick=${() => onLeave(deleted.id)}>Leave ${nameOf(deleted.id)} out</button>`}
      ${shown && !problem && html`
        <${Answer} shown=${shown} model=${model} isOld=${isOld} whyNoParts=${why} bounds=${bounds} nameOf=${nameOf} onAsk=${ask}>${children}</${Answer}>
        ${isRetold && html`<button onClick=${onParts}>Show the one-shot answer with its parts</button>`}`}
    </div>`;
}

/** @param {{ ids: string[], nameOf: (id: string) => string, onDrop: () => void }} props */
function Gone({ ids, nameOf, onDrop }) {
  return html`
    <div class="notice" role="alert"><p>No longer there, and left out: ${ids.slice(0, 20).map((id, at) => html`${at ? ", " : ""}<a href=${href(["components", id])}>${nameOf(id)}</a>`)}${ids.length > 20 ? ` and ${ids.length - 20} more` : ""}.</p>
      <button onClick=${onDrop}>Take out of the selection</button></div>`;
}

/** A weight that was moved under `average` makes the rule `weighted`. @param {import("./selection.js").Model} model @param {Record<string, number>} weights @returns {Partial<Selection>} */
function reweighed(model, weights) {
  const isMoved = model.rule === "average" && model.members.some(({ id, weight }) => Object.hasOwn(weights, id) && weights[id] !== weight);
  return { all: false, weights, rule: isMoved ? "weighted" : model.rule };
}

/** Weights with which a rule begins: those of the average, or one each. @param {string} rule @param {import("./selection.js").Model} model */
function startOf(rule, { members, rule: before }) {
  const same = rule === before || (rule === "weighted" && before === "average");
  const weight = (/** @type {number} */ given) => (same ? given : rule === "weighted" ? 1 / members.length : 1);
  return Object.fromEntries(members.map((each) => [each.id, weight(each.weight)]));
}

/** @param {import("./selection.js").Model} model */
function weightsOf({ members }) {
  return Object.fromEntries(members.map(({ id, weight }) => [id, weight]));
}

/** @param {Record<string, number>} weights @param {string[]} ids */
function omit(weights, ids) {
  return Object.fromEntries(Object.entries(weights).filter(([id]) => !ids.includes(id)));
}
