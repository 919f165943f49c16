/** Start an evaluation, or two to compare: a dataset, its split, and a selection. */
import { idempotencyKey, send } from "../api/client.js";
import { useAction, useAll } from "../api/requests.js";
import { readSelection } from "../compose/selection.js";
import { Choice, submitted } from "../parts/inputs.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { counted } from "../parts/texts.js";
import { go, href } from "../router.js";
import { html, useState } from "../ui.js";

const SECOND = "b."; // names of a second selection in the query
const GIVEN = " "; // the choice of what the address gives; no composition is called so

/** @param {{ query: URLSearchParams }} props */
export function Start({ query }) {
  const datasets = useAll("v1/datasets", { order: "-created_at" });
  const compositions = useAll("v1/compositions");
  const { run, isBusy, problem } = useAction();
  const [chosen, setChosen] = useState({ dataset: query.get("dataset") ?? "", split: query.get("split") ?? "test" });
  const dataset = datasets.rows.find(({ id }) => id === chosen.dataset) ?? datasets.rows[0];
  const failed = datasets.problem ?? compositions.problem;
  if (failed) return html`<${Fault} problem=${failed} again=${datasets.problem ? datasets.reload : compositions.reload} />`;
  if (!datasets.isComplete || !compositions.isComplete) return html`<${Loading} />`;
  if (!dataset) return html`<${Empty}><p>An evaluation needs a dataset.</p><p><a class="button primary" href=${href(["datasets", "upload"])}>Upload one</a></p></${Empty}>`;
  const splits = Object.entries(dataset.splits);
  const split = splits.some(([name]) => name === chosen.split) ? chosen.split : "";
  const started = submitted((form) => run(async () => {
    const about = { dataset_id: dataset.id, ...(split ? { split } : {}) };
    const second = form.get("second") ? await begin(about, String(form.get("second")), query, SECOND) : null;
    const first = await begin(about, String(form.get("first")), query, "");
    go(second ? ["evaluate", second, "against", first] : ["evaluate", first]);
  }));
  return html`
    <form class="panel" onSubmit=${started}>
      <${Choice} label="Dataset" value=${dataset.id} options=${datasets.rows.map(({ id, name, num_images: images }) => [id, `${name} (${counted(images, "image")})`])} onChoice=${(/** @type {string} */ id) => setChosen({ ...chosen, dataset: id })} />
      <${Choice} label="Images" none="all" value=${split} options=${splits.map(([name, images]) => [name, `split ${name} (${images})`])} onChoice=${(/** @type {string} */ name) => setChosen({ ...chosen, split: name })} />
      <${SelectionChoice} name="first" title="Selection" query=${query} prefix="" compositions=${compositions.rows} />
      <${SelectionChoice} name="second" title="Compared with" query=${query} prefix=${SECOND} compositions=${compositions.rows} />
      <button class="primary" disabled=${isBusy}>Evaluate</button>
      ${problem && html`<${Fault} problem=${problem} />`}
    </form>`;
}

/** @param {{ name: string, title: string, query: URLSearchParams, prefix: string, compositions: any[] }} props */
function SelectionChoice({ name, title, query, prefix, compositions }) {
  const given = query.has(`${prefix}components`);
  const begun = query.get(`${prefix}composition`) ?? (given ? GIVEN : "");
  return html`
    <label>${title} <select name=${name} key=${begun}>
      ${given && html`<option value=${GIVEN} selected=${begun === GIVEN}>${toldOf(query, prefix)}</option>`}
      <option value="">${prefix ? "nothing" : "all components of the default space"}</option>
      ${compositions.map((each) => html`<option key=${each.name} selected=${each.name === begun}>${each.name}</option>`)}</select></label>`;
}

/** What the address gives, in words. @param {URLSearchParams} query @param {string} prefix */
function toldOf(query, prefix) {
  const { all, weights, rule } = readSelection(query, prefix);
  return `${all ? "all components" : counted(Object.keys(weights).length, "component")} as composed${rule ? `, ${rule}` : ""}`;
}

/**
 * Queue an evaluation; return its id.
 * @param {Record<string, string>} about @param {string} choice @param {URLSearchParams} query @param {string} prefix @returns {Promise<string>}
 */
async function begin(about, choice, query, prefix) {
  const { space, rule, all, weights } = readSelection(query, prefix);
  const listed = Object.entries(weights).map(([id, weight]) => (rule && rule !== "average" ? { id, weight } : { id }));
  const given = { ...(space ? { space } : {}), ...(rule ? { rule } : {}), ...(all ? {} : { components: listed }) };
  const selection = choice === GIVEN ? given : choice ? { composition: choice } : {};
  const made = await send("POST", "v1/evaluations", { json: { ...about, ...selection }, headers: { "Idempotency-Key": idempotencyKey() } });
  return made.id;
}
