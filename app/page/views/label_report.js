/** Labels that the rest of a selection disputes: each image judged by models that never saw it. */
import { get } from "../api/client.js";
import { useAction, useRead } from "../api/requests.js";
import { Name } from "../parts/facts.js";
import { Thumbnail } from "../parts/images.js";
import { submitted } from "../parts/inputs.js";
import { Relabel } from "../parts/relabel.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { counted, percent } from "../parts/texts.js";
import { href } from "../router.js";
import { html, useState } from "../ui.js";

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */

/** @param {{ dataset: Schemas["DatasetOut"], onChanged: () => void }} props */
export function LabelReport({ dataset, onChanged }) {
  const compositions = useRead("v1/compositions", { limit: 100 });
  const [asked, setAsked] = useState(/** @type {Record<string, string>} */ ({}));
  const [report, setReport] = useState(/** @type {Schemas["LabelReportOut"] | null} */ (null));
  const { isBusy, problem, run } = useAction();
  /** @param {Record<string, string>} query */
  const look = (query) => run(async () => {
    setAsked(query);
    setReport(await get(`v1/datasets/${encodeURIComponent(dataset.id)}/label-report`, { ...query, limit: 100 }));
  });
  const submit = submitted((form) => look({ composition: String(form.get("composition")), label: String(form.get("label")) }));
  return html`
    <p>Which labels do the other images speak against? Each image is taken out of every component that was trained on it, exactly, and
      then judged by what is left. The images need not have been trained on.</p>
    <form onSubmit=${submit}>
      <label>Judged by <select name="composition"><option value="">all components of the space</option>
        ${(compositions.data?.data ?? []).map((/** @type {Schemas["CompositionOut"]} */ each) => html`<option>${each.name}</option>`)}</select></label>
      <label>Images of <select name="label"><option value="">all labels</option>
        ${Object.keys(dataset.labels).map((label) => html`<option value=${label}>${label}</option>`)}</select></label>
      <button class="primary" disabled=${isBusy}>Find doubtful labels</button>
    </form>
    ${isBusy && html`<${Loading} text="Looking at every image …" />`}
    ${problem && html`<${Fault} problem=${problem} />`}
    ${report && !isBusy && html`<${Found} dataset=${dataset} report=${report} onChanged=${() => { onChanged(); look(asked); }} />`}`;
}

/** @param {{ dataset: Schemas["DatasetOut"], report: Schemas["LabelReportOut"], onChanged: () => void }} props */
function Found({ dataset, report, onChanged }) {
  const [chosen, setChosen] = useState(/** @type {Schemas["DisputedImage"] | null} */ (null));
  return html`
    <p role="status"><strong>${counted(report.num_disputed, "label")} of ${report.num_images.toLocaleString("en")} ${report.num_disputed === 1 ? "is" : "are"} disputed.</strong>
      ${report.accuracy !== null && ` The others prefer the image's own label for ${percent(report.accuracy)} of the images.`}
      ${report.num_unknown > 0 && ` ${counted(report.num_unknown, "image")} of labels that no component knows were not judged.`}</p>
    ${report.cannot_be_looked_into.length > 0 && html`<p class="notice">${counted(report.cannot_be_looked_into.length, "imported component")} may have been trained on these images and cannot be left out of the judgement.</p>`}
    ${report.images.length === 0 && html`<${Empty}><p>No label is disputed.</p><//>`}
    <ul class="cards">
      ${report.images.map((image) => html`
        <li class="card disputed" key=${image.id}>
          <${Thumbnail} dataset=${dataset.id} image=${image.id} text=${image.path} />
          <div>
            <p><strong><${Name} text=${image.label} /></strong>, but the others say <strong><${Name} text=${image.preferred} /></strong></p>
            <p class="quiet" title="0: the rest is sure of the image's own label; 1: it knows nothing of it; more: it is against it">residual ${image.residual.toFixed(2)}${image.left_out_of === 0 ? ", never trained on" : ""}</p>
            <div class="bar">
              <button onClick=${() => setChosen(image)}>Relabel …</button>
              <a href=${href(["unlearn", "datasets", dataset.id, "images", image.id])}>Remove …</a>
            </div>
          </div>
        </li>`)}
    </ul>
    ${chosen && html`<${Relabel} dataset=${dataset} image=${chosen} proposed=${chosen.preferred} onClose=${() => setChosen(null)} onDone=${onChanged} />`}`;
}
