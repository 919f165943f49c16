/** Images chosen to be deleted: of one dataset or of several, with one receipt for each dataset. */
import { get, idempotencyKey } from "../api/client.js";
import { asProblem, useRows } from "../api/requests.js";
import { Name } from "../parts/facts.js";
import { Thumbnail } from "../parts/images.js";
import { NamedLink } from "../parts/names.js";
import { Fault, Loading } from "../parts/states.js";
import { counted } from "../parts/texts.js";
import { VirtualList } from "../parts/virtual.js";
import { href } from "../router.js";
import { html, useEffect, useState } from "../ui.js";
import { DeleteButton, Deletions, Done, NotCovered, remove } from "./deletion.js";
import { Preview } from "./previews.js";

/** @typedef {{ dataset: string, images: string[] }} Group */

/** @param {{ groups: Group[] }} props */
export function ImageDeletion({ groups }) {
  const [done, setDone] = useState(/** @type {import("./deletion.js").Deleted[]} */ ([]));
  const [isRefused, setIsRefused] = useState(false);
  const left = groups.filter(({ dataset }) => !done.some(({ receipt }) => receipt.body.dataset_id === dataset));
  if (!left.length) return html`<${Done} done=${done} />`;
  const count = left.reduce((sum, { images }) => sum + images.length, 0);
  const act = async () => {
    for (const group of left) {
      const made = await removeGroup(group);
      setDone((old) => [...old, made]);
    }
  };
  return html`
    <h1>Delete ${counted(count, "image")}</h1>
    ${done.length > 0 && html`<div class="done"><p>This is deleted already:</p><${Deletions} done=${done} /></div>`}
    <p>${done.length > 0 ? "The rest is not changed yet." : "Nothing is changed yet."} This is what the deletion would change:</p>
    ${left.map((group) => html`<${GroupPreview} key=${group.dataset} group=${group} others=${groups.map(({ dataset }) => dataset)} onProblem=${setIsRefused} />`)}
    <${NotCovered} />
    ${!isRefused && html`<${DeleteButton} label=${`Delete ${counted(count, "image")}`} act=${act}
      what=${html`${left.map(({ dataset, images }) => html`<span class="line">${images.length === 1 ? html`Image <code>${images[0]}</code>` : counted(images.length, "image")} of dataset <code>${dataset}</code></span>`)}`} />`}`;
}

/** One request for one image, and one for several: all of them or none. @param {Group} group */
function removeGroup({ dataset, images }) {
  const path = `v1/datasets/${encodeURIComponent(dataset)}/images`;
  if (images.length === 1) return remove("DELETE", `${path}/${encodeURIComponent(images[0])}`);
  return remove("POST", `${path}/delete`, { json: { ids: images }, headers: { "Idempotency-Key": idempotencyKey() } });
}

const LOOKED_INTO = 20; // images of which each is previewed

/** @param {{ group: Group, others: string[], onProblem: (isThere: boolean) => void }} props  `others`: datasets with further images that go */
function GroupPreview({ group: { dataset, images }, others, onProblem }) {
  const [preview, setPreview] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState(/** @type {import("../api/problems.js").Problem | null} */ (null));
  useEffect(() => {
    const controller = new AbortController();
    previewOf(dataset, images.slice(0, LOOKED_INTO), controller.signal).then(setPreview, (error) => {
      if (controller.signal.aborted) return;
      setProblem(asProblem(error));
      onProblem(true);
    });
    return () => controller.abort();
  }, [dataset, images.join()]);
  const held = preview?.also_held.map((/** @type {any} */ each) => ({ ...each, note: others.includes(each.dataset_id) ? ", perhaps chosen here too" : "" }));
  return html`
    <section class="panel">
      <h2>From dataset <${NamedLink} place="datasets" id=${dataset} /></h2>
      ${problem && html`<${Fault} problem=${problem} />${problem.status === 409 && html`<p><a href=${href(["unlearn", "datasets", dataset])}>Delete the dataset instead</a></p>`}`}
      ${!problem && html`<div class="thumbnails">${images.slice(0, 50).map((image) => html`<${Thumbnail} key=${image} dataset=${dataset} image=${image} text=${image} />`)}</div>`}
      ${!problem && !preview && html`<${Loading} text="Looking what would change …" />`}
      ${preview && html`<p>${images.length === 1 ? "1 image goes, and what was measured with it." : `${images.length} images go, and what was measured with them. Each of them alone would change:`}</p><${Preview} preview=${{ ...preview, also_held: held }} />`}
      ${images.length > LOOKED_INTO && html`<p class="quiet">This is what the first ${LOOKED_INTO} would change.</p>`}
    </section>`;
}

const ORDER = ["removed", "retraining", "updated", "down_dated", "queued", "unaffected"]; // the first of several holds

/** Return what the deletion of these images together would change. @param {string} dataset @param {string[]} images @param {AbortSignal} signal */
async function previewOf(dataset, images, signal) {
  const path = `v1/datasets/${encodeURIComponent(dataset)}/images`;
  const all = await Promise.all(images.map((image) => get(`${path}/${encodeURIComponent(image)}/deletion-preview`, {}, signal)));
  const components = all.flatMap((each) => each.components).sort((one, other) => ORDER.indexOf(one.outcome) - ORDER.indexOf(other.outcome));
  const holders = all.flatMap((each) => each.also_held);
  return {
    ...all[0],
    components: unique(components, "id"),
    compositions: unique(all.flatMap((each) => each.compositions), "name"),
    labels_gone: unique(all.flatMap((each) => each.labels_gone), "space"),
    also_held: unique(holders, "dataset_id").map((each) => ({
      ...each, images: holders.reduce((sum, { dataset_id: id, images: count }) => sum + (id === each.dataset_id ? count : 0), 0) })),
  };
}

/** Return the first entry of each name. @param {any[]} entries @param {string} name */
function unique(entries, name) {
  return entries.filter((entry, at) => at === entries.findIndex((each) => each[name] === entry[name]));
}

const MAX_CHOSEN = 100; // ids that an address can name

/** @param {{ dataset: string }} props */
export function ImageChoice({ dataset }) {
  const { rows, problem, isLoading, more, reload } = useRows(`v1/datasets/${encodeURIComponent(dataset)}/images`);
  const [chosen, setChosen] = useState(/** @type {string[]} */ ([]));
  if (problem) return html`<${Fault} problem=${problem} again=${reload} />`;
  if (isLoading && !rows.length) return html`<${Loading} />`;
  return html`
    <h1>Choose images to delete</h1>
    <p>Of dataset <${NamedLink} place="datasets" id=${dataset} />. To take out all of them, <a href=${href(["unlearn", "datasets", dataset])}>delete the dataset</a>.</p>
    <${ChosenBar} chosen=${chosen.map((image) => `${dataset}/${image}`)} />
    <${VirtualList} rows=${rows} height=${108} label="Images" onEnd=${more} draw=${(/** @type {any} */ row) => html`
      <div role="listitem" key=${row.id} class="choice"><${Choice} row=${{ ...row, dataset_id: dataset }} isChosen=${chosen.includes(row.id)}
        onChange=${() => setChosen(toggled(chosen, row.id))} /></div>`} />`;
}

/** @param {string[]} chosen @param {string} id */
export function toggled(chosen, id) {
  return chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen, id].slice(0, MAX_CHOSEN);
}

/** @param {{ row: any, isChosen: boolean, onChange: () => void, children?: any }} props */
export function Choice({ row, isChosen, onChange, children }) {
  return html`
    <label class="inline"><input type="checkbox" checked=${isChosen} onChange=${onChange} aria-label=${`Choose ${row.path}`} />
      <${Thumbnail} dataset=${row.dataset_id} image=${row.id} text=${row.path} /></label>
    <div class="held"><p><strong><${Name} text=${row.path} /></strong></p>
      <p>Label <${Name} text=${row.label} />${row.split ? ` · ${row.split}` : ""}</p>${children}</div>`;
}

/** What can be done with what was chosen. @param {{ chosen: string[] }} props  `dataset/image` */
export function ChosenBar({ chosen }) {
  return html`
    <div class=${`bar ${chosen.length ? "sticky" : ""}`} role="status">
      ${chosen.length
        ? html`<a class="button primary" href=${href(["unlearn", "images"], { of: chosen.join(",") })}>Preview the deletion of ${counted(chosen.length, "image")}</a>`
        : html`<span class="quiet">Choose images to preview their deletion${chosen.length === MAX_CHOSEN ? `, ${MAX_CHOSEN} at most` : ""}.</span>`}
    </div>`;
}
