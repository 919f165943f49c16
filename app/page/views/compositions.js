/** Compositions: a table of them, one with what it names, and the form that makes or changes one. */
import { send } from "../api/client.js";
import { useAction, useAll, useRead, useRows } from "../api/requests.js";
import { Ask } from "../parts/dialog.js";
import { Facts, Name, noted } from "../parts/facts.js";
import { Choice, submitted, typed, typedNumber } from "../parts/inputs.js";
import { Lineage } from "../parts/lineage.js";
import { Listing } from "../parts/listing.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { counted, moment, percent } from "../parts/texts.js";
import { VirtualList } from "../parts/virtual.js";
import { go, href } from "../router.js";
import { html, useState } from "../ui.js";

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */
/** @typedef {Schemas["CompositionOut"]} Row */

/** @type {import("../parts/table.js").Column<Row>[]} */
const COLUMNS = [
  { title: "Name", width: "minmax(10rem, 2fr)", cell: (row) => html`<a href=${href(["compositions", row.name])}><${Name} text=${row.name} /></a>` },
  { title: "Rule", width: "8rem", cell: (row) => row.rule },
  { title: "Components", width: "8rem", isNumber: true, cell: (row) => (typeof row.components === "string" ? "all" : row.components.length) },
  { title: "Space", cell: (row) => html`<${Name} text=${row.space} />` },
  { title: "Changed", width: "13rem", cell: (row) => moment(row.updated_at) },
  { title: "", width: "5rem", cell: (row) => html`<a href=${href(["compose"], { composition: row.name })} aria-label=${`Open ${row.name}`}>Open</a>` },
];
const ORDERS = { name: "by name", "-updated_at": "changed last", "-created_at": "latest first" };

/** @param {{ path: string[], query: URLSearchParams }} props */
export function View({ path, query }) {
  if (path[0] && query.get("new") === null) return html`<${Composition} key=${path[0]} name=${path[0]} />`;
  if (query.get("new") !== null) return html`<${NewComposition} />`;
  return html`
    <h1>Compositions</h1>
    <div class="bar"><a class="button primary" href=${href(["compositions"], { new: "1" })}>Make a composition</a></div>
    <${Listing} noun="composition" path="v1/compositions" columns=${COLUMNS} orders=${ORDERS} keyOf=${(/** @type {Row} */ row) => row.name}
      filters=${[{ name: "space", label: "Space" }, { name: "component_id", label: "Names the component (id)" }]}>
      <${Empty}>
        <p>No composition yet. A composition is a named choice of components that answer together as one model.</p>
        <p>Without one, all components of a space answer together.</p>
        <p><a class="button" href=${href(["compositions"], { new: "1" })}>Make a composition</a></p>
      <//>
    <//>`;
}

/** Rules, and what they mean. @type {Record<Schemas["CompositionIn"]["rule"], string>} */
const RULES = {
  joint: "joint: as if trained on all their data together",
  average: "average: each counts the same",
  weighted: "weighted: each by its own weight",
  discriminant: "discriminant: joint, with every label equally likely",
};

/** @param {string} name */
const pathOf = (name) => `v1/compositions/${encodeURIComponent(name)}`;

/** @param {{ name: string }} props */
export function Composition({ name }) {
  const { data, problem, reload } = useRead(pathOf(name));
  const [isChanging, setIsChanging] = useState(false);
  const [isDeleting, setIsDeleting] = useState(false);
  if (problem) return html`<h1>Composition</h1><${Fault} problem=${problem} again=${reload} />`;
  if (!data) return html`<${Loading} />`;
  /** @type {Schemas["CompositionOut"]} */
  const composition = data;
  const remove = async () => {
    await send("DELETE", pathOf(name), { headers: { "If-Match": `"${composition.etag}"` } });
    go(["compositions"]);
  };
  return html`
    <p class="quiet"><a href=${href(["compositions"])}>Compositions</a></p>
    <h1><${Name} text=${name} /></h1>
    <div class="bar">
      <a class="button primary" href=${href(["compose"], { composition: name })}>Open</a>
      <a class="button" href=${href(["evaluate"], { composition: name })}>Evaluate</a>
      <button onClick=${() => setIsChanging(!isChanging)} aria-expanded=${isChanging}>Change</button>
      <button class="danger" onClick=${() => setIsDeleting(true)}>Delete …</button>
    </div>
    ${isChanging && html`<${Form} key=${composition.etag} before=${composition} onReload=${reload} onDone=${() => { setIsChanging(false); reload(); }} />`}
    <${About} composition=${composition} />
    ${isDeleting && html`
      <${Ask} title="Delete this composition?" action="Delete the composition" isDanger onClose=${() => setIsDeleting(false)} perform=${remove} onDone=${() => undefined}>
        <p>Its name goes; its components stay, and so does what they know.</p><//>`}`;
}

/** @param {{ composition: Schemas["CompositionOut"] }} props */
function About({ composition }) {
  const { components, solved } = composition;
  const known = useAll(typeof components === "string" ? null : "v1/components", { space: composition.space });
  /** @type {Record<string, string>} */
  const names = Object.fromEntries(known.rows.map((/** @type {Schemas["ComponentOut"]} */ { id, name }) => [id, name]));
  const boxes = typeof components === "string"
    ? [{ kind: "components", text: "all that are ready", href: href(["components"], { space: composition.space, status: "ready" }) }]
    : components.map(({ id, weight }) => ({ kind: "component", text: `${names[id] ?? id}${weight === null ? "" : ` × ${Number(weight.toPrecision(3))}`}`, href: href(["components", id]) }));
  return html`
    <${Facts} rows=${[
      ["Rule", RULES[composition.rule]], ["Space", html`<a href=${href(["spaces", composition.space])}><${Name} text=${composition.space} /></a>`],
      ["Created", moment(composition.created_at)], ["Changed", moment(composition.updated_at)],
      ...noted(composition.metadata),
    ]} />
    ${solved && html`
      <h2>Fitted weights</h2>
      ${solved.status === "invalidated" ? html`<p class="notice">The fitted weights went with a deletion; the components are averaged since.
        ${solved.invalidated_by && html` <a href=${href(["receipts", solved.invalidated_by])}>Its receipt</a>`}</p>`
        : html`<${Facts} rows=${[
          ["Fitted to", solved.dataset_id && html`<a href=${href(["datasets", solved.dataset_id])}>${solved.dataset_id}</a>`],
          ["Hold-out accuracy", solved.holdout_accuracy != null && `${percent(solved.holdout_accuracy)} (averaged: ${percent(solved.uniform_holdout_accuracy)})`],
          ["Note", solved.note],
        ]} />`}`}
    <h2>Lineage</h2>
    <${Lineage} label="From components to the composition" columns=${[boxes, [{ kind: "composition", text: composition.name }]]} />`;
}

export function NewComposition() {
  return html`
    <p class="quiet"><a href=${href(["compositions"])}>Compositions</a></p>
    <h1>Make a composition</h1>
    <${Form} onDone=${(/** @type {string} */ name) => go(["compositions", name])} />`;
}

/** @param {{ before?: Schemas["CompositionOut"], onDone: (name: string) => void, onReload?: () => void }} props */
function Form({ before, onDone, onReload }) {
  const spaces = useRead("v1/spaces", { limit: 100 });
  const [space, setSpace] = useState(before?.space ?? "default");
  const [rule, setRule] = useState(before?.rule ?? "joint");
  const [isAll, setIsAll] = useState(!before || typeof before.components === "string");
  const [chosen, setChosen] = useState(/** @type {Map<string, number | null>} */ (
    new Map(before && typeof before.components !== "string" ? before.components.map(({ id, weight }) => [id, weight]) : [])));
  const { problem, run } = useAction();
  const save = submitted((form) => run(async () => {
    const name = before?.name ?? String(form.get("name")).trim();
    const components = isAll ? "all" : [...chosen].map(([id, weight]) => ({ id, ...(rule === "weighted" ? { weight: weight ?? 1 } : rule !== "average" && weight !== null && { weight }) }));
    /** @type {Record<string, string>} */
    const headers = before ? { "If-Match": `"${before.etag}"` } : { "If-None-Match": "*" };
    await send("PUT", pathOf(name), { json: { space, rule, components, metadata: before?.metadata ?? {} }, headers });
    onDone(name);
  }));
  return html`
    <form class="panel column" onSubmit=${save} aria-label="Composition">
      <div class="bar">
        ${!before && html`<label>Name <input name="name" required maxlength="64" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" title="letters, digits, . _ -" /></label>`}
        ${!before && html`<${Choice} label="Space" value=${space} options=${(spaces.data?.data ?? [{ name: space }]).map((/** @type {Schemas["SpaceOut"]} */ { name }) => name)}
          onChoice=${(/** @type {string} */ name) => { setSpace(name); setChosen(new Map()); }} />`}
        <${Choice} label="Rule" value=${rule} options=${Object.entries(RULES)} onChoice=${setRule} />
      </div>
      <fieldset><legend>Components</legend>
        <label class="inline"><input type="radio" name="which" checked=${isAll} onChange=${() => setIsAll(true)} /> all that are ready when a question comes</label>
        <label class="inline"><input type="radio" name="which" checked=${!isAll} onChange=${() => setIsAll(false)} /> these (${chosen.size} chosen)</label>
        ${!isAll && html`<${Members} space=${space} chosen=${chosen} onChange=${setChosen} hasWeights=${rule !== "average"} />`}
      </fieldset>
      ${problem?.status === 412 ? html`
        <div class="notice" role="alert"><p><strong>${before ? "Someone has changed this composition since you opened it." : "A composition of this name is there already."}</strong></p>
          ${onReload ? html`<p>Your changes were not saved. Look at theirs, then change it again.</p><button type="button" onClick=${onReload}>Show what is there now</button>` : html`<p>Choose another name, or open it and change it.</p>`}</div>`
        : problem && html`<${Fault} problem=${problem} />`}
      <div><button class="primary" disabled=${!isAll && chosen.size === 0}>${before ? "Save the change" : "Make it"}</button></div>
    </form>`;
}

/** @typedef {Schemas["ComponentOut"]} Component */

/**
 * @param {{ space: string, chosen: Map<string, number | null>, onChange: (chosen: Map<string, number | null>) => void, hasWeights: boolean }} props
 */
export function Members({ space, chosen, onChange, hasWeights }) {
  const { rows, next, problem, isLoading, more, reload } = useRows("v1/components", { space, status: "ready", order: "name" });
  const [sought, setSought] = useState("");
  const shown = rows.filter((/** @type {Component} */ { name, labels }) => !sought || [name, ...labels].some((text) => text.toLowerCase().includes(sought.toLowerCase())));
  /** @param {string} id @param {number | null | undefined} weight  undefined: not chosen */
  const set = (id, weight) => {
    const changed = new Map(chosen);
    if (weight === undefined) changed.delete(id);
    else changed.set(id, weight);
    onChange(changed);
  };
  if (problem) return html`<${Fault} problem=${problem} again=${reload} />`;
  if (isLoading && rows.length === 0) return html`<${Loading} />`;
  return html`
    <label>Name or label <input type="search" value=${sought} onInput=${typed(setSought)} /></label>
    <${VirtualList} rows=${shown} height=${44} label="components" onEnd=${more} className="members" draw=${(/** @type {Component} */ row) => html`
      <div class="chosen" role="listitem" key=${row.id}>
        <label class="inline cut"><input type="checkbox" checked=${chosen.has(row.id)} onChange=${() => set(row.id, chosen.has(row.id) ? undefined : null)} />
          <${Name} text=${row.name} /></label>
        ${hasWeights && chosen.has(row.id) && html`
          <input type="number" step="any" class="weight" aria-label=${`Weight of ${row.name}`} placeholder="1" defaultValue=${chosen.get(row.id) ?? ""}
            onChange=${typedNumber((weight) => set(row.id, weight))} />`}
      </div>`} />
    <p class="quiet" role="status">${counted(shown.length, "component")}${next === null ? "" : " so far; scroll for more"}</p>`;
}
