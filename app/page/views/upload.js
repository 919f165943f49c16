/** Upload: an archive or a folder, with what the service will make of it told before anything is trained. */
import { idempotencyKey, upload } from "../api/client.js";
import { asProblem, useRead } from "../api/requests.js";
import { chosenOf, chosenOfDrop, obstacle } from "../parts/chosen_files.js";
import { Name } from "../parts/facts.js";
import { submitted } from "../parts/inputs.js";
import { Fault } from "../parts/states.js";
import { bytes, counted } from "../parts/texts.js";
import { tarOf } from "../parts/tar.js";
import { Train } from "../parts/training.js";
import { href } from "../router.js";
import { html, useEffect, useRef, useState } from "../ui.js";
import { Report } from "./dataset_report.js";

/**
 * @typedef {import("../parts/chosen_files.js").Chosen} Chosen
 * @typedef {import("../api/schema.js").components["schemas"]} Schemas
 * @typedef {{ chosen: Chosen | null, key: string, sent: { loaded: number, total: number } | null,
 *   problem: import("../api/problems.js").Problem | null, made: Schemas["UploadedDataset"] | null }} State
 */

/** @type {State} */
const START = { chosen: null, key: "", sent: null, problem: null, made: null };

export function Upload() {
  const limits = useRead("v1/limits");
  const [state, setState] = useState(START);
  const stop = useRef(/** @type {AbortController | null} */ (null));
  useEffect(() => () => stop.current?.abort(), []);
  /** @param {Chosen} chosen */
  const choose = (chosen) => setState({ ...START, chosen, key: idempotencyKey() });
  /** @param {string} name */
  const start = async (name) => {
    const { chosen, key } = state;
    if (!chosen) return;
    stop.current = new AbortController();
    setState((old) => ({ ...old, problem: null, sent: { loaded: 0, total: chosen.bytes } }));
    try {
      const made = await upload("v1/datasets", formOf(chosen, name), {
        signal: stop.current.signal, headers: { "Idempotency-Key": key },
        onProgress: (sent) => setState((old) => ({ ...old, sent })),
      });
      setState((old) => ({ ...old, sent: null, made }));
    } catch (error) {
      const isCancelled = stop.current.signal.aborted;
      setState((old) => ({ ...old, sent: null, problem: isCancelled ? null : asProblem(error) }));
    }
  };
  if (state.made) return html`<${Made} dataset=${state.made} onAgain=${() => setState(START)} />`;
  const fault = state.chosen && limits.data ? obstacle(state.chosen, limits.data) : null;
  return html`
    <h1>Upload a dataset</h1>
    <p>The folder of an image is its label: <code>cat/1.jpg</code>, <code>dog/2.jpg</code>. Folders named train, val and test are splits.
      A <code>metadata.csv</code> with <code>file_name</code> and <code>label</code> works too.</p>
    ${limits.problem && html`<${Fault} problem=${limits.problem} again=${limits.reload} />`}
    ${limits.data && !state.sent && html`<${Drop} most=${limits.data.max_archive_entries} onChosen=${choose} />
      <p class="quiet">At most ${counted(limits.data.max_dataset_images, "image")}, ${bytes(limits.data.max_upload_bytes)} an upload, ${bytes(limits.data.max_image_bytes)} an image.</p>`}
    ${fault && html`<div class="fault" role="alert">${fault}</div>`}
    ${state.chosen && !fault && !state.sent && html`<${Ready} key=${state.key} chosen=${state.chosen} onStart=${start} />`}
    ${state.sent && html`<${Progress} sent=${state.sent} onCancel=${() => stop.current?.abort()} />`}
    ${state.problem && html`<${Fault} problem=${state.problem} />`}`;
}

/** @param {{ most: number, onChosen: (chosen: Chosen) => void }} props */
function Drop({ most, onChosen }) {
  const [isOver, setIsOver] = useState(false);
  /** @param {DragEvent} event */
  const drop = async (event) => {
    event.preventDefault();
    setIsOver(false);
    if (event.dataTransfer) onChosen(await chosenOfDrop(event.dataTransfer, most));
  };
  /** @param {Event} event */
  const take = (event) => {
    const files = /** @type {HTMLInputElement} */ (event.currentTarget).files;
    if (files?.length) onChosen(chosenOf(files, most));
  };
  /** @param {DragEvent} event */
  const over = (event) => {
    event.preventDefault();
    setIsOver(true);
  };
  return html`
    <div class=${`drop ${isOver ? "over" : ""}`} onDragOver=${over} onDragLeave=${() => setIsOver(false)} onDrop=${drop}>
      <p>Drop an archive (zip, tar, tar.gz, tar.zst) or a folder here, or</p>
      <div class="bar centre">
        <label>Choose an archive <input type="file" accept=".zip,.tar,.gz,.tgz,.zst" onChange=${take} /></label>
        <label>Choose a folder <input type="file" webkitdirectory onChange=${take} /></label>
      </div>
    </div>`;
}

/** @param {{ chosen: Chosen, onStart: (name: string) => void }} props */
function Ready({ chosen, onStart }) {
  const submit = submitted((form) => onStart(String(form.get("name")).trim()));
  return html`
    <form class="panel" onSubmit=${submit}>
      <p><strong><${Name} text=${chosen.name} /></strong><br />
        ${chosen.files ? `a folder with ${counted(chosen.files.length, "file")}, ` : ""}${bytes(chosen.bytes)}</p>
      <label>Name of the dataset <input name="name" defaultValue=${chosen.name.replace(/\.(zip|tar|tgz|tar\.gz|tar\.zst)$/i, "").slice(0, 255)} required maxlength="255" /></label>
      <button class="primary">Upload</button>
    </form>`;
}

/** @param {{ sent: { loaded: number, total: number }, onCancel: () => void }} props */
function Progress({ sent, onCancel }) {
  const isSent = sent.total > 0 && sent.loaded >= sent.total;
  return html`
    <div class="panel">
      <p role="status">${isSent ? "Sent. The service looks at every image …" : "Sending …"}</p>
      ${isSent ? html`<progress aria-label="Examination"></progress>`
        : html`<progress aria-label="Upload" max=${sent.total || 1} value=${sent.loaded}></progress>`}
      <p class="number">${bytes(sent.loaded)} of ${bytes(sent.total)}</p>
      <button onClick=${onCancel}>Cancel the upload</button>
    </div>`;
}

/** @param {{ dataset: Schemas["UploadedDataset"], onAgain: () => void }} props */
function Made({ dataset, onAgain }) {
  const head = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => head.current?.focus(), []);
  return html`
    <h1 tabindex="-1" ref=${head}><${Name} text=${dataset.name} />: ${counted(dataset.num_images, "image")} uploaded</h1>
    <${Report} dataset=${dataset} sharing=${dataset.duplicate_of} />
    <h2>Train</h2>
    <${Train} dataset=${dataset.id} />
    <div class="bar">
      <a class="button" href=${href(["datasets", dataset.id], { tab: "images" })}>Look at the images</a>
      <a class="button" href=${href(["unlearn", "datasets", dataset.id])}>Delete it again</a>
      <button onClick=${onAgain}>Upload another</button>
    </div>`;
}

/** @param {Chosen} chosen @param {string} name */
function formOf(chosen, name) {
  const form = new FormData();
  form.append("name", name);
  if (chosen.archive) form.append("file", chosen.archive);
  else form.append("file", tarOf(chosen.files ?? []), `${chosen.name}.tar`);
  return form;
}
