/** Start: the whole story on an empty service; on another one what is there; and how the service is. */
import { useRead } from "../api/requests.js";
import { Fault, Loading } from "../parts/states.js";
import { counted } from "../parts/texts.js";
import { href } from "../router.js";
import { html } from "../ui.js";
import { Story, story } from "./story.js";

export function View() {
  const datasets = useRead("v1/datasets", { limit: 100 });
  const ready = useRead("v1/components", { status: "ready", limit: 100 }, 10);
  const problem = datasets.problem ?? ready.problem;
  if (problem) return html`<h1>Start</h1><${Health} /><${Fault} problem=${problem} again=${() => { datasets.reload(); ready.reload(); }} />`;
  if (!datasets.data || !ready.data) return html`<${Loading} />`;
  const isEmpty = datasets.data.data.length === 0 && ready.data.data.length === 0;
  return html`
    ${isEmpty || story.value.isShown ? html`
      <h1>Models from many parties, with each party’s share</h1>
      <p class="lead">Each dataset becomes a <em>component</em>. Components answer together as one model. Each one’s share of an answer is known
        exactly, and each can be taken out again so that nothing of it is left.</p>
      <${Health} />
      <${Story} />`
    : html`
      <h1>What is here</h1>
      <${Health} />
      <${Counts} datasets=${datasets.data} ready=${ready.data} />
      <div class="bar">
        <a class="button primary" href=${href(["datasets", "upload"])}>Upload a dataset</a>
        ${ready.data.data.length > 0 && html`<a class="button" href=${href(["compose"])}>Try an image</a>`}
        <a class="button" href=${href(["unlearn"])}>Find or delete data</a>
      </div>
      <details><summary>See the whole story on sample data</summary><${Story} /></details>`}`;
}

/** The noun for so many: an s at its bar, unless there is one. @param {string} noun @param {number | undefined} count */
const counting = (noun, count) => noun.replace("|", count === 1 ? "" : "s");

/** @param {{ datasets: Schemas["DatasetSummaryPage"], ready: Schemas["ComponentOutPage"] }} props */
function Counts({ datasets, ready }) {
  const queued = useRead("v1/components", { status: "queued", limit: 100 }, 5);
  const training = useRead("v1/components", { status: "training", limit: 100 }, 5);
  const failed = useRead("v1/components", { status: "failed", limit: 100 }, 30);
  const compositions = useRead("v1/compositions", { limit: 100 });
  const head = useRead("v1/receipts/head");
  /** @type {[string, any, string][]} */
  const tiles = [
    ["dataset|", datasets, href(["datasets"])],
    ["ready component|", ready, href(["components"], { status: "ready" })],
    ["component| in training", training.data, href(["components"], { status: "training" })],
    ["queued component|", queued.data, href(["components"], { status: "queued" })],
    ["failed training|", failed.data, href(["components"], { status: "failed" })],
    ["composition|", compositions.data, href(["compositions"])],
  ];
  return html`
    <ul class="figures">
      ${tiles.filter(([name, page]) => name !== "failed training|" || page?.data.length > 0).map(([name, page, to]) => html`
        <li><a href=${to}><strong>${page ? `${page.data.length}${page.has_more ? " or more" : ""}` : "…"}</strong> ${counting(name, page?.data.length)}</a></li>`)}
      <li><a href=${href(["receipts"])}><strong>${head.data ? head.data.number.toLocaleString("en") : "…"}</strong> ${counting("receipt| of deletion", head.data?.number)}</a></li>
    </ul>`;
}

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */
/** @typedef {Schemas["Ready"]} Ready */

export function Health() {
  const { data, problem, reload } = useRead("readyz", {}, 10);
  // An unready service answers 503 with the same document in place of a problem.
  const ready = /** @type {Ready | null} */ (problem?.document.checks ? problem.document : data);
  if (problem && !ready) return html`<${Fault} problem=${problem} again=${reload} />`;
  if (!ready) return null;
  const troubles = troublesOf(ready);
  if (troubles.length === 0) return html`<p class="quiet"><span class="tag good">ok</span> The service answers, and ${counted(ready.workers ?? 0, "training worker")} ${ready.workers === 1 ? "runs" : "run"}.</p>`;
  return html`<div role="status">${troubles.map(([what, remedy]) => html`<div class="notice"><p><strong>${what}</strong> ${remedy}</p></div>`)}</div>`;
}

/** @param {Ready} ready @returns {[string, any][]} */
function troublesOf(ready) {
  /** @type {[string, any][]} */
  const found = Object.entries(ready.checks).filter(([, { ok, detail }]) => !ok && !detail.startsWith("not tried"))
    .map(([name, { detail }]) => [`The check of the ${name} fails: ${detail}.`, "Answers are refused until it passes; the service's log says more."]);
  if (ready.workers === 0) found.push(["No training worker runs.", `Trainings wait until one does; answers are not affected. Start the service with one, or tangent worker. (${ready.workers_missing ?? ""})`]);
  if (ready.spaces_unavailable > 0) found.push([`${counted(ready.spaces_unavailable, "space")} ${ready.spaces_unavailable === 1 ? "does" : "do"} not answer.`, html`<a href=${href(["spaces"])}>The spaces say why</a>; the others answer.`]);
  const damaged = Object.entries(ready.damaged ?? {}).filter(([, count]) => count > 0);
  if (damaged.length > 0) found.push([`Damaged: ${damaged.map(([kind, count]) => `${count} ${kind}`).join(", ")}.`, "The rest answers. Bring them back from a backup; tangent doctor lists them."]);
  return found;
}
