/** Datasets: a table of them, and one with its report, its images, its doubtful labels and what came of it. */
import { useRead } from "../api/requests.js";
import { Rename } from "../parts/dialog.js";
import { Facts, Name } from "../parts/facts.js";
import { Lineage } from "../parts/lineage.js";
import { Listing } from "../parts/listing.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { bytes, counted, moment } from "../parts/texts.js";
import { Train } from "../parts/training.js";
import { href } from "../router.js";
import { html } from "../ui.js";
import { Images } from "./dataset_images.js";
import { Report } from "./dataset_report.js";
import { LabelReport } from "./label_report.js";
import { Upload } from "./upload.js";

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */
/** @typedef {Schemas["DatasetSummary"]} Summary */

/** @type {import("../parts/table.js").Column<Summary>[]} */
const COLUMNS = [
  { title: "Name", width: "minmax(10rem, 2fr)", cell: (row) => html`<a href=${href(["datasets", row.id])}><${Name} text=${row.name} /></a>` },
  { title: "Images", width: "6rem", isNumber: true, cell: (row) => row.num_images.toLocaleString("en") },
  { title: "Labels", width: "5rem", isNumber: true, cell: (row) => Object.keys(row.labels).length },
  { title: "Rejected", width: "6rem", isNumber: true, cell: (row) => row.num_rejected },
  { title: "Size", width: "6rem", isNumber: true, cell: (row) => bytes(row.bytes) },
  { title: "Uploaded", width: "13rem", cell: (row) => moment(row.created_at) },
];
const ORDERS = { "-created_at": "latest first", created_at: "oldest first", name: "by name", "-name": "by name, from the end" };

/** @param {{ path: string[], query: URLSearchParams }} props */
export function View({ path, query }) {
  if (path[0] === "upload") return html`<${Upload} />`;
  if (path[0]) return html`<${Dataset} key=${path[0]} id=${path[0]} query=${query} />`;
  return html`
    <h1>Datasets</h1>
    <div class="bar"><a class="button primary" href=${href(["datasets", "upload"])}>Upload a dataset</a></div>
    <${Listing} noun="dataset" path="v1/datasets" columns=${COLUMNS} orders=${ORDERS}
      filters=${[{ name: "name", label: "Name (whole)" }, { name: "label", label: "Has the label" }]}>
      <${Empty}>
        <p>No dataset yet. A dataset is a folder or an archive of images, one folder for each label.</p>
        <p><a class="button" href=${href(["datasets", "upload"])}>Upload one</a> or <a href=${href([])}>try sample data</a></p>
      <//>
    <//>`;
}

const TABS = [["", "Overview"], ["images", "Images"], ["doubts", "Doubtful labels"]];

/** @param {{ id: string, query: URLSearchParams }} props */
export function Dataset({ id, query }) {
  const path = `v1/datasets/${encodeURIComponent(id)}`;
  const { data, problem, reload } = useRead(path);
  if (problem) return html`<h1>Dataset</h1><${Fault} problem=${problem} again=${reload} />`;
  if (!data) return html`<${Loading} />`;
  const tab = query.get("tab") ?? "";
  return html`
    <p class="quiet"><a href=${href(["datasets"])}>Datasets</a></p>
    <h1><${Name} text=${data.name} /> <span class="quiet">${counted(data.num_images, "image")}</span></h1>
    <div class="bar">
      <${Rename} path=${path} name=${data.name} onDone=${reload} />
      <a class="button danger" href=${href(["unlearn", "datasets", id])}>Delete …</a>
    </div>
    <nav class="tabs" aria-label="Parts of the dataset">
      ${TABS.map(([name, text]) => html`<a href=${href(["datasets", id], { tab: name })} aria-current=${name === tab ? "page" : undefined}>${text}</a>`)}
    </nav>
    ${tab === "images" ? html`<${Images} dataset=${data} query=${query} onChanged=${reload} />`
      : tab === "doubts" ? html`<${LabelReport} dataset=${data} onChanged=${reload} />`
      : html`<${Overview} dataset=${data} />`}`;
}

/** @param {{ dataset: Schemas["DatasetOut"] }} props */
function Overview({ dataset }) {
  return html`
    <${Report} dataset=${dataset} />
    <h2>Components trained from it</h2>
    <${Trained} dataset=${dataset} />
    <${Train} dataset=${dataset.id} />
    <${Privacy} dataset=${dataset.id} />`;
}

/** @param {{ dataset: Schemas["DatasetOut"] }} props */
function Trained({ dataset }) {
  const { data, problem, reload } = useRead("v1/components", { dataset_id: dataset.id, limit: 100 }, 5);
  if (problem) return html`<${Fault} problem=${problem} again=${reload} />`;
  if (!data) return html`<${Loading} />`;
  /** @type {Schemas["ComponentOut"][]} */
  const components = data.data;
  if (components.length === 0) return html`<p>None yet.</p>`;
  const boxes = components.map(({ id, name, status }) => ({
    kind: `component, ${status}`, text: status === "ready" ? name : `${name} (${status})`, href: href(["components", id]),
  }));
  return html`
    <${Lineage} label="From the dataset to its components" columns=${[[{ kind: "dataset", text: dataset.name }], boxes]} />
    ${components.length > 7 && html`<p><a href=${href(["components"], { dataset_id: dataset.id })}>All of them as a table</a></p>`}`;
}

/** @param {{ dataset: string }} props */
function Privacy({ dataset }) {
  const { data } = useRead(`v1/datasets/${encodeURIComponent(dataset)}/privacy`);
  if (!data || (!data.budget && data.spends.length === 0)) return null;
  /** @type {Schemas["PrivacyLedgerOut"]} */
  const ledger = data;
  return html`
    <h2>Privacy spent</h2>
    <${Facts} rows=${[
      ["Spent together", told(ledger.spent)],
      ["Budget", ledger.budget ? told(ledger.budget) : "no limit"],
      ["Left", ledger.left === null ? null : `about epsilon ${ledger.left.toPrecision(3)} for one more training`],
      ["About", ledger.unit === "group" ? "a group of images, such as those of a patient" : "one image"],
      ["Trainings", ledger.spends.length],
    ]} />`;
}

/** @param {Record<string, number>} spend */
function told({ epsilon, delta }) {
  return `epsilon ${epsilon?.toPrecision(3) ?? 0}, delta ${delta ?? 0}`;
}
