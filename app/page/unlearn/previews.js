/** The deletions of a component and of a dataset: what they would change, and doing them. */
import { useRead, useRows } from "../api/requests.js";
import { submitted, typed } from "../parts/inputs.js";
import { NamedLink, NamedLinks } from "../parts/names.js";
import { Fault, Loading } from "../parts/states.js";
import { bytes, counted, percent } from "../parts/texts.js";
import { href } from "../router.js";
import { html, useState } from "../ui.js";
import { DeleteButton, Done, NotCovered, remove } from "./deletion.js";

/** @param {{ id: string }} props */
export function ComponentDeletion({ id }) {
  const path = `v1/components/${encodeURIComponent(id)}`;
  const component = useRead(path);
  const [done, setDone] = useState(/** @type {import("./deletion.js").Deleted[] | null} */ (null));
  if (done) return html`<${Done} done=${done} />`;
  if (component.problem) return html`<${Fault} problem=${component.problem} again=${component.reload} />`;
  if (!component.data) return html`<${Loading} />`;
  const name = component.data.name || id;
  return html`
    <h1>Delete component ${name}</h1>
    <p>Nothing is changed yet. This is what its deletion would change:</p>
    <${ComponentPreview} id=${id} />
    <${Answers} path=${path} isReady=${component.data.status === "ready"} own=${component.data.dataset_id} />
    <${NotCovered} />
    <${DeleteButton} label="Delete the component" what=${html`Component <strong>${name}</strong> (<code>${id}</code>) and all that was derived from it.`}
      act=${async () => setDone([await remove("DELETE", path)])} onProblem=${(/** @type {any} */ problem) => problem.status === 410 && component.reload()} />`;
}

/** What a component's deletion would change. @param {{ id: string }} props */
function ComponentPreview({ id }) {
  const { data, problem, reload } = useRead(`v1/components/${encodeURIComponent(id)}/deletion-preview`);
  if (problem) return html`<${Fault} problem=${problem} again=${reload} />`;
  if (!data) return html`<${Loading} text="Looking what would change …" />`;
  const { datasets, components, cannot_be_looked_into: imported } = data.also_held;
  return html`
    <ul>
      <li>Component <${NamedLink} place="components" id=${id} /> is removed, with its file.</li>
      ${data.derived.length > 0 && html`<li>Removed with it, as they were derived from it: <${NamedLinks} place="components" ids=${data.derived} />.</li>`}
      <${Losses} preview=${{ ...data, labels_gone: [{ space: data.space, labels: data.labels_gone }] }} />
      <${Holders} datasets=${datasets} />
      ${components.length > 0 && html`<li>Components with the same file stay: <${NamedLinks} place="components" ids=${components} />.</li>`}
      ${imported.length > 0 && html`<li>Imported components do not say what images they were trained from, and may hold some of these: <${NamedLinks} place="components" ids=${imported} />.</li>`}
    </ul>`;
}

/** Labels, compositions and results that would go or change. @param {{ preview: any }} props */
function Losses({ preview: { labels_gone: labels, compositions, evaluations, batch_predictions: batches } }) {
  const lost = labels.filter((/** @type {any} */ each) => each.labels.length);
  const used = [evaluations && counted(evaluations, "evaluation"), batches && counted(batches, "batch prediction")].filter(Boolean);
  return html`
    ${lost.map((/** @type {any} */ each) => html`<li>Labels that nothing else in space ${each.space} knows, and that are gone: ${each.labels.join(", ")}.</li>`)}
    ${lost.length === 0 && html`<li>No label is gone: others know them too.</li>`}
    ${compositions.map((/** @type {any} */ each) => html`<li>Composition <a href=${href(["compositions", each.name])}>${each.name}</a> changes, and has ${counted(each.components_left, "component")} then.
      ${each.solved_weights_lost && " Its fitted weights are dropped; the rest are averaged until they are fitted again."}</li>`)}
    <li>${used.length ? `What used it is dropped: ${used.join(" and ")}.` : "No evaluation and no batch prediction has used it."}</li>`;
}

/** @param {{ datasets: { dataset_id: string, images: number, note?: string }[] }} props */
function Holders({ datasets }) {
  return datasets.length > 0 && html`<li>These datasets keep the images, byte for byte: ${datasets.map((each, at) => html`${at > 0 && ", "}<${NamedLink} place="datasets" id=${each.dataset_id} /> (${counted(each.images, "image")}${each.note ?? ""})`)}.</li>`;
}

/** @type {Record<string, string>} */
const EFFECTS = {
  removed: "is removed, with its file",
  down_dated: "stays: the share of what goes is subtracted at once, to the last bit",
  updated: "stays: images with the same bytes are held back no more, and their share is added at once, to the last bit",
  retraining: "takes no part in answers until it is trained again without what goes",
  queued: "has not been trained yet, and will be trained without what goes",
  unaffected: "was trained without what goes, and stays as it is",
};

/** What the deletion of a dataset, or of some of its images, would change. @param {{ preview: any }} props */
export function Preview({ preview }) {
  return html`
    <ul>
      ${preview.components.length === 0 && html`<li>No component was trained from it.</li>`}
      ${preview.components.map((/** @type {any} */ each) => html`<li key=${each.id}>Component <${NamedLink} place="components" id=${each.id} /> ${EFFECTS[each.outcome]}.</li>`)}
      <${Losses} preview=${preview} />
      <${Holders} datasets=${preview.also_held} />
      ${preview.also_held.length === 0 && html`<li>No other dataset holds the same bytes.</li>`}
    </ul>`;
}

/** How answers to a dataset's images would change. @param {{ path: string, isReady: boolean, own: string | null }} props */
function Answers({ path, isReady, own }) {
  const { rows } = useRows("v1/datasets");
  const [chosen, setChosen] = useState("");
  const [asked, setAsked] = useState("");
  const { data, problem, isLoading, reload } = useRead(asked ? `${path}/deletion-preview` : null, { dataset_id: asked });
  if (!isReady || !rows.length) return null;
  const answers = data?.answers;
  return html`
    <h2>How answers would change</h2>
    <form onSubmit=${submitted(() => setAsked(chosen || rows[0].id))}>
      <label>Try it on <select value=${chosen || rows[0].id} onChange=${typed(setChosen)}>
        ${rows.map((row) => html`<option value=${row.id}>${row.name || row.id}${row.id === own ? " (it was trained from this one)" : ""}</option>`)}</select></label>
      <button>Compare</button>
    </form>
    <div aria-live="polite">
      ${isLoading && html`<${Loading} text="Answering all images twice …" />`}
      ${problem && html`<${Fault} problem=${problem} again=${reload} />`}
      ${answers && html`
        <p>${counted(answers.flipped, "answer")} of ${answers.num_images} would be another one, under rule ${answers.rule}.
          ${answers.trained_on > 0 && ` ${answers.trained_on} of the images are training images of the components, so accuracy on them is too good.`}</p>
        <div class="scroll"><table><thead><tr><th>Label</th><th class="number">Images</th><th class="number">Accuracy now</th><th class="number">Afterwards</th><th class="number">Other answers</th></tr></thead>
          <tbody>${[["All", answers], ...Object.entries(answers.labels)].map(([label, each]) => html`
            <tr><th scope="row">${label}</th><td class="number">${each.num_images}</td><td class="number">${percent(each.accuracy_before)}</td><td class="number">${percent(each.accuracy_after)}</td><td class="number">${each.flipped}</td></tr>`)}</tbody></table></div>`}
    </div>`;
}

/** @param {{ id: string }} props */
export function DatasetDeletion({ id }) {
  const path = `v1/datasets/${encodeURIComponent(id)}`;
  const dataset = useRead(path);
  const preview = useRead(`${path}/deletion-preview`);
  const [done, setDone] = useState(/** @type {import("./deletion.js").Deleted[] | null} */ (null));
  const [isWhole, setIsWhole] = useState(false);
  if (done) return html`<${Done} done=${done} />`;
  const again = () => {
    dataset.reload();
    preview.reload();
  };
  const problem = dataset.problem ?? preview.problem;
  if (problem) return html`<${Fault} problem=${problem} again=${again} />`;
  if (!dataset.data || !preview.data) return html`<${Loading} />`;
  const { num_images: images, bytes: size } = dataset.data;
  const name = dataset.data.name || id, using = preview.data.components.length;
  return html`
    <h1>Delete dataset ${name}</h1>
    <p>Nothing is changed yet. This is what its deletion would change:</p>
    <p>Its ${counted(images, "image")} (${bytes(size)}) are removed. <a href=${href(["unlearn", "datasets", id, "images"])}>Delete single images instead</a></p>
    <${Preview} preview=${preview.data} />
    <${NotCovered} />
    <${DeleteButton} label="Delete the dataset" typed=${name} isReady=${!using || isWhole}
      act=${async () => setDone([await remove("DELETE", path, { query: { cascade: isWhole || undefined } })])}
      what=${html`Dataset <strong>${name}</strong> (<code>${id}</code>) with ${counted(images, "image")}.`}
      onProblem=${again}>
      ${using > 0 && html`<label class="inline"><input type="checkbox" checked=${isWhole} onChange=${(/** @type {any} */ event) => setIsWhole(event.currentTarget.checked)} />
        <span>Also delete the ${counted(using, "component")} that cannot stay without it</span></label>`}
    <//>`;
}
