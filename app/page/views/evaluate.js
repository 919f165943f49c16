/** Evaluate: how good a selection is on a dataset, and what another one does better. */
import { useRows } from "../api/requests.js";
import { Comparison } from "../evaluate/comparison.js";
import { Result } from "../evaluate/result.js";
import { Start } from "../evaluate/start.js";
import { Empty, Fault } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { counted, moment, percent } from "../parts/texts.js";
import { href } from "../router.js";
import { html } from "../ui.js";

/** @param {{ path: string[], query: URLSearchParams }} props */
export function View({ path, query }) {
  const [id, word, other] = path;
  if (id && word === "against" && other) return html`<h1>One selection against another</h1><${Comparison} key=${`${id} ${other}`} id=${id} against=${other} />`;
  if (id) return html`<h1>Evaluation</h1><p class="quiet"><a href=${href(["evaluate"])}>All evaluations</a></p><${Result} key=${id} id=${id} />`;
  return html`<h1>Evaluate</h1><${Start} query=${query} /><h2>Evaluations</h2><${List} />`;
}

/** @type {import("../parts/table.js").Column[]} */
const COLUMNS = [
  { title: "Asked", width: "13rem", cell: (row) => html`<a href=${href(["evaluate", row.id])}>${moment(row.created_at)}</a>` },
  { title: "Accuracy", width: "6rem", isNumber: true, cell: (row) => (row.status === "ready" ? percent(row.accuracy) : row.status) },
  { title: "Images", width: "5rem", isNumber: true, cell: (row) => row.num_images ?? row.progress.total },
  { title: "Selection", cell: (row) => `${row.composition ? `${row.composition.name}, ` : ""}${counted(row.components.length, "component")}, ${row.rule}` },
  { title: "Trained on", width: "8rem", cell: (row) => (row.trained_on ? html`<span class="tag warn">${row.trained_on} of them</span>` : row.trained_on === 0 ? "none" : "–") },
];

function List() {
  const { rows, problem, isLoading, more, reload } = useRows("v1/evaluations", { order: "-created_at" });
  if (problem) return html`<${Fault} problem=${problem} again=${reload} />`;
  if (!isLoading && rows.length === 0) return html`<${Empty}><p>Nothing was evaluated yet.</p></${Empty}>`;
  return html`<${Table} columns=${COLUMNS} rows=${rows} label="Evaluations" onEnd=${more} keyOf=${(/** @type {any} */ row) => row.id} />`;
}
