/** One evaluation: its progress, its numbers, its wrong images, and files to take along. */
import { send } from "../api/client.js";
import { asProblem, pagesOf, useAction, useRead, useRows } from "../api/requests.js";
import { queryOf, selectionOf } from "../compose/selection.js";
import { Ask } from "../parts/dialog.js";
import { Thumbnail } from "../parts/images.js";
import { Choice } from "../parts/inputs.js";
import { NamedLink } from "../parts/names.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { VirtualList } from "../parts/virtual.js";
import { counted, moment, percent } from "../parts/texts.js";
import { go, href } from "../router.js";
import { html, useEffect, useRef, useState } from "../ui.js";
import { drawCharts } from "./charts.js";
import { csvOf, download } from "./csv.js";
import { Confusion, LabelAccuracy, Reliability } from "./numbers.js";

const ROW = 88; // pixels, as style.css has it

/** Statuses in which numbers are still to come. */
const ACTIVE = ["queued", "running"];

/**
 * Read an evaluation, again and again until it has ended.
 * @param {string} id
 */
export function useEvaluation(id) {
  const [isActive, setIsActive] = useState(true);
  const read = useRead(`v1/evaluations/${encodeURIComponent(id)}`, {}, isActive ? 1 : undefined);
  useEffect(() => setIsActive(!read.data || ACTIVE.includes(read.data.status)), [read.data?.status]);
  return read;
}

/** @param {{ id: string }} props */
export function Result({ id }) {
  const { data, problem, reload } = useEvaluation(id);
  const [cell, setCell] = useState({ label: "", answered: "" });
  const images = useRef(/** @type {HTMLElement | null} */ (null));
  if (problem) return html`<${Fault} problem=${problem} again=${reload} />`;
  if (!data) return html`<${Loading} />`;
  const shown = (/** @type {string} */ label, /** @type {string} */ answered) => {
    setCell({ label, answered });
    images.current?.focus();
  };
  return html`
    <${Summary} evaluation=${data} onChanged=${reload} />
    ${data.status === "ready" && html`
      <${Files} evaluation=${data} />
      <${Others} evaluation=${data} />
      <${Confusion} confusion=${data.confusion} onCell=${shown} />
      <div class="split"><div><${LabelAccuracy} labels=${data.labels} /></div>
        <div>${data.probabilities && html`<${Reliability} probabilities=${data.probabilities} calibration=${data.calibration} />`}</div></div>
      <h2 tabindex="-1" ref=${images}>${cell.label && cell.label === cell.answered ? "Images that were answered so" : "Wrong images"}</h2>
      <${Filter} confusion=${data.confusion} cell=${cell} onCell=${setCell} />
      <${AnsweredImages} evaluation=${data} empty="No image is answered so."
        filter=${{ label: cell.label, answered: cell.answered, wrong: cell.label && cell.label === cell.answered ? undefined : "true" }} />`}`;
}

/** @param {{ evaluation: any, onChanged: () => void }} props */
export function Summary({ evaluation, onChanged }) {
  const { run, problem } = useAction();
  const [isAsking, setIsAsking] = useState(false);
  const { id, status, progress, error, composition, components, rule, split, dataset_id: dataset, note, invalidated_by: receipt } = evaluation;
  const path = `v1/evaluations/${encodeURIComponent(id)}`;
  const selection = selectionOf({ ...evaluation, name: "" });
  return html`
    <div class="panel">
      ${status === "ready" && html`<p class="verdict">${percent(evaluation.accuracy)} <span class="quiet">of ${counted(evaluation.num_images, "image")} right</span></p>`}
      ${ACTIVE.includes(status) && html`
        <p role="status">${status === "queued" ? "Waiting for its turn …" : `${progress.done} of ${counted(progress.total, "image")} answered …`}</p>
        <progress max=${progress.total || 1} value=${progress.done} aria-label="Progress of the evaluation"></progress>`}
      ${status === "failed" && html`<p class="fault" role="alert"><strong>It failed.</strong> ${error?.detail}</p>`}
      ${status === "cancelled" && html`<p>It was cancelled.</p>`}
      ${status === "invalidated" && html`<p class="notice">It is no longer valid, and its numbers are gone: something that it was made of was deleted or changed.
        ${receipt && html` <a href=${href(["receipts", receipt])}>Read the receipt</a>`}</p>`}
      ${note && html`<p class="notice"><strong>Look out:</strong> ${note}.</p>`}
      <dl class="facts">
        <dt>Selection</dt><dd>${composition ? html`<a href=${href(["compose"], { composition: composition.name })}>${composition.name}</a>, ` : ""}
          <a href=${href(["compose"], queryOf(selection))}>${counted(components.length, "component")}</a>, rule ${rule}</dd>
        <dt>Dataset</dt><dd>${dataset ? html`<${NamedLink} place="datasets" id=${dataset} />${split ? `, split ${split}` : ", all images"}` : "deleted"}</dd>
        <dt>Asked</dt><dd>${moment(evaluation.created_at)}</dd>
      </dl>
      ${problem && html`<${Fault} problem=${problem} />`}
      <div class="bar">
        ${ACTIVE.includes(status)
          ? html`<button onClick=${() => run(() => send("POST", `${path}/cancel`).then(onChanged))}>Cancel</button>`
          : html`<button class="danger" onClick=${() => setIsAsking(true)}>Delete this evaluation</button>`}
      </div>
      ${isAsking && html`
        <${Ask} title="Delete this evaluation?" action="Delete it" isDanger onClose=${() => setIsAsking(false)} onDone=${() => go(["evaluate"])} perform=${() => send("DELETE", path)}>
          <p>Its numbers and answers go. What was evaluated stays.</p>
        <//>`}
    </div>`;
}

/** @param {{ confusion: import("../algebra/confusion.js").Counts, cell: { label: string, answered: string }, onCell: (cell: { label: string, answered: string }) => void }} props */
function Filter({ confusion, cell, onCell }) {
  const own = Object.keys(confusion);
  const answers = [...new Set(Object.values(confusion).flatMap(Object.keys))];
  return html`
    <div class="bar">
      <${Choice} label="Own label" none="any" value=${cell.label} options=${own} onChoice=${(/** @type {string} */ label) => onCell({ ...cell, label })} />
      <${Choice} label="Answered" none="any" value=${cell.answered} options=${answers} onChoice=${(/** @type {string} */ answered) => onCell({ ...cell, answered })} />
    </div>`;
}

/** Evaluations of the same images, to compare this one with. @param {{ evaluation: any }} props */
export function Others({ evaluation }) {
  const { id, dataset_id: dataset, split } = evaluation;
  const { rows } = useRows("v1/evaluations", { order: "-created_at", status: "ready", dataset_id: dataset });
  const others = rows.filter((each) => each.id !== id && each.split === split);
  if (others.length === 0) return null;
  return html`
    <div class="bar"><${Choice} label="Compare with" none="an evaluation of the same images …" onChoice=${(/** @type {string} */ other) => other && go(["evaluate", id, "against", other])}
      options=${others.map((each) => [each.id, [percent(each.accuracy), each.composition?.name ?? counted(each.components.length, "component"), each.rule, moment(each.created_at)].join(", ")])} /></div>`;
}

/** Take the numbers along: every image's answer as CSV, the charts as a picture. @param {{ evaluation: any, against?: string }} props */
export function Files({ evaluation, against }) {
  const [told, setTold] = useState("");
  const [reading, setReading] = useState(/** @type {AbortController | null} */ (null));
  useEffect(() => () => reading?.abort(), [reading]);
  const table = async () => {
    const controller = new AbortController();
    setReading(controller);
    try {
      const rows = await rowsOf(evaluation.id, against, controller.signal, (count) => setTold(`${counted(count, "image")} read …`));
      download(new Blob([csvOf(rows)], { type: "text/csv" }), `${evaluation.id}.csv`);
      setTold(`${counted(rows.length - 1, "image")} in the file.`);
    } catch (error) {
      setTold(controller.signal.aborted ? "Stopped." : `It failed: ${asProblem(error).message}`);
    }
    setReading(null);
  };
  return html`
    <div class="bar">
      ${reading ? html`<button onClick=${() => reading.abort()}>Stop</button>` : html`<button onClick=${table}>${against ? "Changed images as CSV" : "All answers as CSV"}</button>`}
      ${!against && html`<button onClick=${async () => download(await drawCharts(evaluation), `${evaluation.id}.png`)}>Charts as PNG</button>`}
      <span role="status">${told}</span>
    </div>`;
}

/**
 * Return a head and a row for each answered image.
 * @param {string} id @param {string | undefined} against @param {AbortSignal} signal @param {(count: number) => void} onCount
 */
async function rowsOf(id, against, signal, onCount) {
  const names = ["id", "path", "label", "answered", ...(against ? ["before", "change"] : [])];
  const rows = [names];
  for await (const page of pagesOf(`v1/evaluations/${encodeURIComponent(id)}/images`, { compared_to: against }, signal)) {
    for (const row of page) rows.push(names.map((name) => row[name] ?? ""));
    onCount(rows.length - 1);
  }
  return rows;
}

/** Changes from a baseline to a candidate. @type {Record<string, string>} */
export const CHANGES = { fixed: "only the candidate is right", broken: "only the baseline is right", other: "both wrong" };

/**
 * The images of an evaluation that fit a filter, with their answers.
 * @param {{ evaluation: any, filter: Record<string, string | undefined>, empty: string }} props  `filter`: the list's query
 */
export function AnsweredImages({ evaluation, filter, empty }) {
  const { rows, next, problem, isLoading, more, reload } = useRows(`v1/evaluations/${encodeURIComponent(evaluation.id)}/images`, filter, 60);
  if (problem) return html`<${Fault} problem=${problem} again=${reload} />`;
  if (isLoading && rows.length === 0) return html`<${Loading} />`;
  if (rows.length === 0) return html`<${Empty}><p>${empty}</p></${Empty}>`;
  return html`
    <p class="quiet" role="status">${counted(rows.length, "image")}${next ? " so far; more come as you scroll" : ""}</p>
    <${VirtualList} rows=${rows} height=${ROW} label="Images" onEnd=${more} draw=${(/** @type {any} */ row) => html`<${Row} key=${row.id} evaluation=${evaluation} row=${row} />`} />`;
}

/** @param {{ evaluation: any, row: any }} props */
function Row({ evaluation, row }) {
  const compose = href(["compose"], { ...queryOf(selectionOf({ ...evaluation, name: "" })), dataset: evaluation.dataset_id, image: row.id, label: row.label, split: evaluation.split });
  const isRight = row.answered === row.label;
  return html`
    <div class="answered" role="listitem">
      <${Thumbnail} dataset=${evaluation.dataset_id} image=${row.id} size=${128} text="" />
      <span>labelled <strong>${row.label}</strong>, answered <strong>${row.answered}</strong> <span class=${isRight ? "tag good" : "tag bad"}>${isRight ? "right" : "wrong"}</span>
        ${row.change && html`<br />baseline: ${row.before} <span class="quiet">(${CHANGES[row.change]})</span>`}
        <br /><span class="quiet path" title=${row.path}>${row.path}</span></span>
      <a href=${compose} aria-label=${`See what gave this answer to ${row.path}`}>Why?</a>
    </div>`;
}
