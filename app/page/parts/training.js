/** The form that trains a component from a dataset: one click, with settings for who wants others. */
import { idempotencyKey, send } from "../api/client.js";
import { useAction, useRead } from "../api/requests.js";
import { go } from "../router.js";
import { html, useRef } from "../ui.js";
import { submitted } from "./inputs.js";
import { Fault } from "./states.js";

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */

/** @type {{ name: string, label: string, options?: string[], isWhole?: boolean }[]} */
const SETTINGS = [
  { name: "l2", label: "Penalty l2 (auto: chosen by left-out images)" },
  { name: "loss", label: "Loss", options: ["rsl", "cross_entropy"] },
  { name: "solver", label: "Solver", options: ["auto", "cholesky", "cg", "lbfgs", "adam"] },
  { name: "epochs", label: "Epochs (adam)", isWhole: true },
  { name: "lr", label: "Learning rate (adam)" },
  { name: "batch_size", label: "Batch size (adam)", isWhole: true },
  { name: "views", label: "Views of each image", isWhole: true },
];

/** @param {{ dataset: string }} props */
export function Train({ dataset }) {
  const spaces = useRead("v1/spaces", { limit: 100 });
  const { isBusy, problem, run } = useAction();
  const last = useRef({ text: "", key: "" }); // the same request again has the same key
  const train = submitted((form) => run(async () => {
    const json = bodyOf(dataset, form), text = JSON.stringify(json);
    if (last.current.text !== text) last.current = { text, key: idempotencyKey() };
    go(["components", (await send("POST", "v1/components", { json, headers: { "Idempotency-Key": last.current.key } })).id]);
  }));
  return html`
    <form class="column" onSubmit=${train} aria-label="Train a component">
      <details>
        <summary>Settings (the defaults are right for most)</summary>
        <div class="bar">
          <label>Name of the component <input name="name" placeholder="the dataset's" maxlength="200" /></label>
          <label>Space <select name="space">${(spaces.data?.data ?? [{ name: "default" }]).map((/** @type {Schemas["SpaceOut"]} */ space) => html`<option>${space.name}</option>`)}</select></label>
          ${SETTINGS.map(({ name, label, options, isWhole }) => html`
            <label>${label} ${options
              ? html`<select name=${name}><option value="">the default</option>${options.map((each) => html`<option>${each}</option>`)}</select>`
              : html`<input name=${name} inputmode=${isWhole ? "numeric" : "decimal"} placeholder="the default" />`}</label>`)}
          <label>Seed <input name="seed" type="number" min="0" placeholder="0" /></label>
          <label>Differential privacy: epsilon <input name="epsilon" inputmode="decimal" placeholder="none" /></label>
          <label>delta <input name="delta" inputmode="decimal" placeholder="none" /></label>
        </div>
      </details>
      ${problem && html`<${Fault} problem=${problem} />`}
      <div><button class="primary" disabled=${isBusy}>${isBusy ? "Queueing …" : "Train a component"}</button></div>
    </form>`;
}

/** @param {string} dataset @param {FormData} form @returns {Record<string, any>} */
function bodyOf(dataset, form) {
  /** @param {string} name */
  const told = (name) => String(form.get(name) ?? "").trim();
  const settings = SETTINGS.filter(({ name }) => told(name)).map(({ name }) => [name, valueOf(told(name))]);
  return {
    dataset_id: dataset, space: told("space"), name: told("name") || null, hyperparameters: Object.fromEntries(settings),
    ...(told("seed") && { seed: Number(told("seed")) }),
    ...((told("epsilon") || told("delta")) && { privacy: { epsilon: valueOf(told("epsilon")), delta: valueOf(told("delta")) } }),
  };
}

/** A number where it is one; the service refuses what it cannot use, and says why. @param {string} text */
function valueOf(text) {
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}
