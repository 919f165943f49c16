/** Components: a table of them, and one with what it knows, where it came from and who uses it. */
import { address, get, send } from "../api/client.js";
import { useEvents } from "../api/events.js";
import { useRead } from "../api/requests.js";
import { Ask, Rename } from "../parts/dialog.js";
import { Counts, Facts, Name, noted, Tag } from "../parts/facts.js";
import { LineChart } from "../parts/line_chart.js";
import { Lineage } from "../parts/lineage.js";
import { Listing } from "../parts/listing.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { bytes, moment, percent, short } from "../parts/texts.js";
import { href } from "../router.js";
import { html, useCallback, useEffect, useState } from "../ui.js";

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */
/** @typedef {Schemas["ComponentOut"]} Row */

/** @type {import("../parts/table.js").Column<Row>[]} */
const COLUMNS = [
  { title: "Name", width: "minmax(10rem, 2fr)", cell: (row) => html`<a href=${href(["components", row.id])}><${Name} text=${row.name} /></a>` },
  { title: "Status", width: "9rem", cell: (row) => html`<${Tag} status=${row.retraining ? "retraining" : row.status} /> ${share(row)}` },
  { title: "Space", cell: (row) => html`<${Name} text=${row.space} />` },
  { title: "Labels", width: "4rem", isNumber: true, cell: (row) => row.labels.length },
  { title: "Images", width: "5rem", isNumber: true, cell: (row) => Object.values(row.images).reduce((sum, each) => sum + each, 0).toLocaleString("en") },
  { title: "Hold-out accuracy", width: "9rem", isNumber: true, cell: (row) => percent(row.metrics.holdout_accuracy) },
  { title: "Size", width: "5.5rem", isNumber: true, cell: (row) => bytes(row.bytes) },
  { title: "Made", width: "13rem", cell: (row) => moment(row.created_at) },
];
const ORDERS = { "-created_at": "latest first", created_at: "oldest first", name: "by name", "-name": "by name, from the end" };
const FILTERS = [
  { name: "status", label: "Status", options: ["queued", "training", "ready", "failed", "cancelled"] },
  { name: "name", label: "Name (whole)" }, { name: "label", label: "Has the label" }, { name: "space", label: "Space" },
  { name: "dataset_id", label: "Dataset (id)" },
];

/** @param {{ path: string[] }} props */
export function View({ path }) {
  if (path[0]) return html`<${Component} key=${path[0]} id=${path[0]} />`;
  return html`
    <h1>Components</h1>
    <${Listing} noun="component" path="v1/components" columns=${COLUMNS} orders=${ORDERS} filters=${FILTERS}
      isMoving=${(/** @type {Row} */ row) => row.status === "queued" || row.status === "training"}>
      <${Empty}>
        <p>No component yet. A component is what one dataset adds to the model; it is trained from a dataset.</p>
        <p><a class="button" href=${href(["datasets", "upload"])}>Upload a dataset</a> or <a href=${href([])}>try sample data</a></p>
      <//>
    <//>`;
}

/** How far a training is. @param {Row} row */
function share({ status, progress: { step, total } }) {
  return status === "training" && step !== undefined && total ? percent(step / total) : "";
}

/** @param {{ id: string }} props */
export function Component({ id }) {
  const path = `v1/components/${encodeURIComponent(id)}`;
  const { data, problem, reload } = useRead(path);
  if (problem) return html`<h1>Component</h1><${Fault} problem=${problem} again=${reload} />`;
  if (!data) return html`<${Loading} />`;
  /** @type {Schemas["ComponentOut"]} */
  const component = data;
  return html`
    <p class="quiet"><a href=${href(["components"])}>Components</a></p>
    <h1><${Name} text=${component.name} /> <${Tag} status=${component.retraining ? "retraining" : component.status} /></h1>
    <${Actions} component=${component} path=${path} onDone=${reload} />
    ${component.retraining && html`<p class="notice">It is trained again, as its dataset has changed. Answers leave it out until it is ready.</p>`}
    ${component.error && html`<div class="fault" role="alert"><p><strong>${component.error.detail}</strong></p><p class="quiet">${component.error.code}</p></div>`}
    <${Training} key=${`${component.status}${component.attempts}`} component=${component} onEnd=${reload} />
    <${Measured} component=${component} />
    <div class="split">
      <section><h2>Images it was trained from</h2>
        ${Object.keys(component.images).length > 0 ? html`<${Counts} counts=${component.images} />` : html`<p>None: ${component.derived ? "it was made from other components." : "it is not trained yet."}</p>`}
        ${component.privacy && html`<p class="quiet">The numbers are told with noise.</p>`}</section>
      <section><h2>About it</h2><${About} component=${component} /></section>
    </div>
    <${Family} component=${component} />`;
}

/** @param {{ component: Schemas["ComponentOut"], path: string, onDone: () => void }} props */
function Actions({ component, path, onDone }) {
  const [asked, setAsked] = useState("");
  const isActive = component.status === "queued" || component.status === "training";
  /** @param {string} action */
  const perform = (action) => async () => {
    await send("POST", `${path}/${action}`);
    onDone();
  };
  return html`
    <div class="bar">
      ${component.status === "ready" && html`
        <a class="button primary" href=${href(["compose"], { components: component.id, space: component.space })}>Try it on an image</a>
        <a class="button" href=${address(`${path}/delta`).href} download>Download</a>`}
      ${isActive && html`<button onClick=${() => setAsked("cancel")}>Cancel the training …</button>`}
      ${component.status === "failed" && html`<button onClick=${() => setAsked("retrain")}>Train again …</button>`}
      <${Rename} path=${path} name=${component.name} onDone=${onDone} />
      <a class="button danger" href=${href(["unlearn", "components", component.id])}>Unlearn …</a>
    </div>
    ${asked === "cancel" && html`
      <${Ask} title="Cancel the training?" action="Cancel the training" isDanger onClose=${() => setAsked("")} perform=${perform("cancel")}>
        <p>It stops within two seconds, and the component will never be ready. Its dataset stays.</p><//>`}
    ${asked === "retrain" && html`
      <${Ask} title="Train it again?" action="Train again" onClose=${() => setAsked("")} perform=${perform("retrain")}>
        <p>It is trained under its own id: from its dataset as it is now, with its settings and its seed.</p><//>`}`;
}

/** Figures in large, each with what it was measured on. @param {{ component: Schemas["ComponentOut"] }} props */
function Measured({ component: { metrics, metrics_by: by, status, privacy } }) {
  if (status !== "ready") return null;
  const tried = metrics.tried_l2 ?? [];
  /** @type {[string, string, string][]} */
  const figures = [
    [percent(metrics.holdout_accuracy), "hold-out accuracy", metrics.holdout_accuracy == null
      ? (privacy ? "not measured: it would tell of the images" : "too few images of a label to leave some out, or not measured by this solver") : "on images left out of a training like this one"],
    [percent(metrics.train_accuracy), "training accuracy", "on the images that it was trained from: too high for others"],
    [metrics.l2 == null ? "–" : metrics.l2.toPrecision(2), "penalty l2", "chosen by the error on left-out images, unless it was given"],
  ];
  return html`
    <ul class="figures">${figures.map(([value, name, note]) => html`<li><strong>${value}</strong> ${name}<br /><span class="quiet">${note}</span></li>`)}</ul>
    ${tried.length > 1 && html`
      <h2>Choice of the penalty</h2>
      <${LineChart} isLog mark=${metrics.l2 ?? undefined} xTitle="penalty l2" yTitle="error on left-out images"
        lines=${[{ title: "error on images left out, by the penalty", points: tried.map(({ l2, left_out_error: error }) => [l2, error]) }]}
        text=${`Of ${tried.length} penalties that were tried, ${metrics.l2?.toPrecision(2)} was taken.`} />
      <p class="quiet">The dashed line is the penalty that was taken: beside it, the error does not fall clearly.</p>`}
    ${by === "party" && html`<p class="notice">These were measured by the party that trained the component elsewhere; this service has not checked them.</p>`}`;
}

/** @param {{ component: Schemas["ComponentOut"] }} props */
function About({ component }) {
  const { metrics, privacy, hyperparameters, derived } = component;
  return html`
    <${Facts} rows=${[
      ["Space", html`<a href=${href(["spaces", component.space])}><${Name} text=${component.space} /></a>`],
      ["Size", component.bytes && bytes(component.bytes)],
      ["Rule joint", component.status === "ready" && (component.statistics ? "has the sums that it needs" : "not possible: its file has no sums")],
      ["Smallest label", component.smallest_label && html`<${Name} text=${component.smallest_label.label} />, ${component.smallest_label.images} images`],
      ["Privacy", privacy && `epsilon ${privacy.epsilon}, delta ${privacy.delta}, about ${privacy.unit === "group" ? "a group" : "one image"}`],
      ["Made by", derived && derived.operator],
      ["Training time", metrics.seconds !== undefined && `${metrics.seconds} s`],
      ["Converged", metrics.converged === undefined ? null : metrics.converged ? "yes" : "no: the solver stopped before its tolerance"],
      ["Final loss", metrics.final_loss == null ? null : metrics.final_loss.toPrecision(4)],
      ["Attempts", component.attempts > 1 && component.attempts],
      ["Created", moment(component.created_at)], ["Finished", component.finished_at && moment(component.finished_at)],
      ["Id", html`<code>${component.id}</code>`], ["SHA-256", component.sha256 && html`<code title=${component.sha256}>${short(component.sha256)}</code>`],
      ...noted(component.metadata),
    ]} />
    <details><summary>Settings of the training</summary>
      <${Facts} rows=${[...Object.entries(hyperparameters), ["seed", component.seed]].map(([key, value]) => [key, String(value)])} /></details>`;
}

/** Dataset or parents → the component → compositions that name it. @param {{ component: Schemas["ComponentOut"] }} props */
function Family({ component }) {
  const compositions = useRead("v1/compositions", { component_id: component.id, limit: 100 });
  const dataset = useRead(component.dataset_id && `v1/datasets/${encodeURIComponent(component.dataset_id)}`);
  const parents = (component.derived?.parents ?? []).map(({ id, sha256 }) => ({
    kind: "component", text: id ?? `file ${short(sha256)}`, href: id ? href(["components", id]) : undefined,
  }));
  const origin = component.dataset_id
    ? [{ kind: "dataset", text: dataset.data?.name ?? component.dataset_id, href: href(["datasets", component.dataset_id]) }]
    : component.derived ? [] : [{ kind: "origin", text: "imported as a file" }];
  const users = (compositions.data?.data ?? []).map((/** @type {Schemas["CompositionOut"]} */ { name }) => ({ kind: "composition", text: name, href: href(["compositions", name]) }));
  return html`
    <h2>Lineage</h2>
    <${Lineage} label="From where the component came to the compositions that name it"
      columns=${[[...origin, ...parents], [{ kind: "this component", text: component.name }], users]} />
    ${compositions.data && users.length === 0 && html`<p class="quiet">No composition names it. Compositions of all components of its space have it too, once it is ready.</p>`}`;
}

/**
 * @typedef {{ step: number, loss: number }} Point
 * @typedef {{ points: Point[], last: Schemas["EventData"], seen: number, isRead: boolean }} State
 */

const PAGES = 20; // of a hundred events each, of a training that is over
const PHASES = /** @type {Record<string, string>} */ ({ features: "Images pass through the backbone", solve: "The component is computed" });

/** @param {{ component: Schemas["ComponentOut"], onEnd: () => void }} props */
function Training({ component, onEnd }) {
  const isActive = component.status === "queued" || component.status === "training";
  const [state, setState] = useState(/** @type {State} */ ({ points: [], last: component.progress, seen: 0, isRead: false }));
  useEffect(() => {
    let isGone = false;
    readEvents(component.id).then((read) => isGone || setState((old) => ({ ...old, ...read, isRead: true })), () => isGone || setState((old) => ({ ...old, isRead: true })));
    return () => { isGone = true; };
  }, [component.id]);
  const told = useCallback((/** @type {{ type: string, data: any }} */ { type, data }) => {
    if (type === "progress") setState((old) => ({ ...old, last: data.data, points: withPoint(old.points, data.data) }));
    else if (type === "deleted" || data.data?.status !== component.status) onEnd();
  }, [component.status, onEnd]);
  useEvents(isActive && state.isRead ? component.id : null, told, state.seen);
  return html`
    ${isActive && html`<${Bar} status=${component.status} now=${state.last} />`}
    ${state.points.length > 1 && html`<${Curve} points=${state.points} />`}`;
}

/** @param {{ status: string, now: Schemas["EventData"] }} props */
function Bar({ status, now }) {
  const { step, total, phase, eta_seconds: left, loss } = now;
  const isKnown = status === "training" && step !== undefined && total;
  return html`
    <div class="panel" role="status">
      <p>${status === "queued" ? "It waits for a worker." : PHASES[phase ?? ""] ?? "The training has begun."}
        ${isKnown ? ` ${step.toLocaleString("en")} of ${total.toLocaleString("en")} (${percent(step / total)})` : ""}
        ${left ? `, about ${Math.ceil(left)} s left in this phase` : ""}${loss != null ? `, loss ${loss.toPrecision(4)}` : ""}</p>
      ${isKnown ? html`<progress aria-label="Training" max=${total} value=${step}></progress>` : html`<progress aria-label="Training"></progress>`}
    </div>`;
}

/** @param {{ points: Point[] }} props */
function Curve({ points }) {
  const first = points[0], last = points[points.length - 1];
  return html`
    <h2>Loss</h2>
    <${LineChart} xTitle="step" yTitle="loss" lines=${[{ title: "loss of the training", points: points.map(({ step, loss }) => [step, loss]) }]}
      text=${`The loss went from ${first.loss.toPrecision(4)} at step ${first.step} to ${last.loss.toPrecision(4)} at step ${last.step}.`} />`;
}

/** The last attempt's losses so far. @param {string} id @returns {Promise<{ points: Point[], seen: number }>} */
async function readEvents(id) {
  let points = /** @type {Point[]} */ ([]), seen = 0;
  for (let page = 0; page < PAGES; page += 1) {
    const { data, has_more: isMore } = await get(`v1/components/${encodeURIComponent(id)}/events`, { after: seen, limit: 100 });
    for (const event of data) {
      if (event.type === "progress") points = withPoint(points, event.data);
      seen = event.id;
    }
    if (!isMore) break;
  }
  return { points, seen };
}

/** A step that is not after the last one begins another attempt. @param {Point[]} points @param {Schemas["EventData"]} data */
function withPoint(points, { step, loss }) {
  if (step === undefined || loss == null) return points;
  return points.length > 0 && step <= points[points.length - 1].step ? [{ step, loss }] : [...points, { step, loss }];
}
