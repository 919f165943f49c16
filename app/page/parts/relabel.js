/** The dialog that gives one image another label, and says before what that changes. */
import { send } from "../api/client.js";
import { useRead, useRows } from "../api/requests.js";
import { href } from "../router.js";
import { html, useId, useState } from "../ui.js";
import { Ask, Dialog } from "./dialog.js";
import { Name } from "./facts.js";
import { Thumbnail } from "./images.js";
import { Loading } from "./states.js";
import { counted } from "./texts.js";

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */

/**
 * @param {{ dataset: Schemas["DatasetOut"], image: { id: string, label: string, path: string, split?: string | null },
 *   proposed?: string, onClose: () => void, onDone: () => void }} props
 */
export function Relabel({ dataset, image, proposed = "", onClose, onDone }) {
  const list = useId();
  const [made, setMade] = useState(/** @type {Schemas["CorrectedImage"] | null} */ (null));
  /** @param {FormData} form */
  const perform = async (form) => {
    const path = `v1/datasets/${encodeURIComponent(dataset.id)}/images/${encodeURIComponent(image.id)}`;
    setMade(await send("PATCH", path, { json: { label: String(form.get("label")) } }));
  };
  const close = () => { onDone(); onClose(); };
  if (made) return html`<${Done} image=${made} onClose=${close} />`;
  return html`
    <${Ask} title="Change a label" action="Change the label" onClose=${onClose} onDone=${() => undefined} perform=${perform}>
      <div class="bar"><${Thumbnail} dataset=${dataset.id} image=${image.id} text=${image.path} />
        <p>Now: <strong><${Name} text=${image.label} /></strong></p></div>
      <label>New label <input name="label" list=${list} defaultValue=${proposed} required maxlength="255" autocomplete="off" /></label>
      <datalist id=${list}>${Object.keys(dataset.labels).map((label) => html`<option value=${label} />`)}</datalist>
      <${Effects} dataset=${dataset.id} image=${image} />
    <//>`;
}

/** @param {{ image: Schemas["CorrectedImage"], onClose: () => void }} props */
function Done({ image, onClose }) {
  const outcomes = image.receipt?.body.components ?? [];
  return html`
    <${Dialog} title="The label is changed" onClose=${onClose}>
      <p role="status">The image is labelled <strong><${Name} text=${image.label} /></strong>.</p>
      ${image.receipt ? html`
        <p>${outcomes.map(({ id, outcome }) => html`<a href=${href(["components", id])}>${id}</a>: ${outcome.replaceAll("_", " ")}<br />`)}</p>
        <p><a href=${href(["receipts", image.receipt.id])}>Read the receipt</a></p>` : html`<p>It had this label already: nothing was changed.</p>`}
      <button onClick=${onClose}>Close</button>
    <//>`;
}

/** What changes with the label, by the rules of the service. @param {{ dataset: string, image: { split?: string | null } }} props */
function Effects({ dataset, image }) {
  const components = useRows("v1/components", { dataset_id: dataset, status: "ready" });
  const spaces = useRead("v1/spaces", { limit: 100 }), evaluations = useRead("v1/evaluations", { dataset_id: dataset, limit: 100 });
  if (!spaces.data || !evaluations.data || components.isLoading) return html`<${Loading} text="Looking what this changes …" />`;
  /** @type {Record<string, string>} */
  const scopes = Object.fromEntries(spaces.data.data.map((/** @type {Schemas["SpaceOut"]} */ { name, scope }) => [name, scope]));
  const seen = image.split === "val" || image.split === "test" ? [] : components.rows;
  const { data: measured, has_more: isMore } = evaluations.data;
  return html`
    <div class="notice">
      <p>What this changes:</p>
      <ul>
        ${seen.length === 0 && html`<li>No component was trained from this image.</li>`}
        ${seen.slice(0, 10).map((component) => html`<li><${Name} text=${component.name} />: ${effectOn(component, scopes)}</li>`)}
        ${seen.length > 10 && html`<li>and ${components.next ? "many" : seen.length - 10} more components</li>`}
        ${measured.length > 0 && html`<li>${isMore ? "More than 100 evaluations" : counted(measured.length, "evaluation")} of this dataset no longer describe it.</li>`}
      </ul>
    </div>`;
}

/** @param {Schemas["ComponentOut"]} component @param {Record<string, string>} scopes */
function effectOn({ space, privacy, hyperparameters: { solver, alpha = 1, views = 1 } }, scopes) {
  if (privacy) return "it promises privacy to its images, so this is refused while it is there.";
  return ["head", "head2toe"].includes(scopes[space]) && solver === "cholesky" && alpha === 1 && (views & (views - 1)) === 0
    ? "it is updated at once, to the last bit; where this machine cannot repeat its training bit for bit, it is trained again."
    : "it takes no part in answers until it is trained again.";
}
