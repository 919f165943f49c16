/** What an upload holds and what may not be as meant: labels, splits, rejected files, copies, warnings. */
import { Counts, Facts, Name, noted } from "../parts/facts.js";
import { Table } from "../parts/table.js";
import { bytes, counted, moment, short } from "../parts/texts.js";
import { href } from "../router.js";
import { html } from "../ui.js";

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */

/** @type {import("../parts/table.js").Column<Schemas["RejectedFile"]>[]} */
const REJECTED = [
  { title: "File", cell: (row) => html`<${Name} text=${row.path} />` },
  { title: "Reason", width: "minmax(12rem, 2fr)", cell: (row) => html`<${Name} text=${row.reason} />` },
];

/** @param {{ dataset: Schemas["DatasetOut"], sharing?: Schemas["SharingDataset"][] }} props */
export function Report({ dataset, sharing = [] }) {
  const near = dataset.near_duplicates;
  const splits = Object.entries(dataset.splits ?? {});
  return html`
    ${Boolean(dataset.damaged_images) && html`
      <div class="fault" role="alert">${counted(dataset.damaged_images ?? 0, "image")} cannot be read any more. Nothing is trained from this dataset until a backup brings them back or they are deleted.</div>`}
    ${(dataset.warnings ?? []).map((warning) => html`<p class="notice">${warning}</p>`)}
    ${sharing.length > 0 && html`
      <div class="notice"><p>Other datasets hold the same images already. Components of both count these twice, and a deletion here leaves them there.</p>
        <ul>${sharing.map(({ dataset_id, images }) => html`<li><a href=${href(["datasets", dataset_id])}>${dataset_id}</a>: ${counted(images, "image")}</li>`)}</ul></div>`}
    <div class="split">
      <section><h2>Labels</h2>
        <${Counts} counts=${dataset.labels} hrefOf=${(/** @type {string} */ label) => href(["datasets", dataset.id], { tab: "images", label })} /></section>
      <section><h2>Files</h2>
        <${Facts} rows=${[
          ["Images", dataset.num_images.toLocaleString("en")],
          ["Splits", splits.length > 0 && splits.map(([split, count]) => `${split} ${count}`).join(", ")],
          ["Rejected", dataset.num_rejected],
          ["Copies left out", dataset.duplicates],
          ["Passed over", dataset.files?.passed_over || null],
          ["Size", bytes(dataset.bytes)],
          ["Uploaded", moment(dataset.created_at)],
          ["Id", html`<code>${dataset.id}</code>`],
          ["SHA-256", dataset.sha256 && html`<code title=${dataset.sha256}>${short(dataset.sha256)}</code>`],
          ...noted(dataset.metadata),
        ]} /></section>
    </div>
    ${dataset.rejected.length > 0 && html`
      <h2>Rejected files</h2>
      ${dataset.num_rejected > dataset.rejected.length && html`<p>The first ${dataset.rejected.length} of ${dataset.num_rejected}:</p>`}
      <${Table} label="rejected files" columns=${REJECTED} rows=${dataset.rejected} keyOf=${(/** @type {Schemas["RejectedFile"]} */ row) => row.path} />`}
    ${near && near.images > 0 && html`<${Lookalikes} near=${near} />`}`;
}

/** @param {{ near: Schemas["NearDuplicates"] }} props */
function Lookalikes({ near }) {
  /** @param {Schemas["NearPair"]} pair */
  const told = ({ paths, distance }) => html`<li><${Name} text=${paths[0]} /> and <${Name} text=${paths[1]} /> <span class="quiet">(${distance} of 144 bits differ)</span></li>`;
  return html`
    <h2>Images that look alike</h2>
    ${near.held_back_like_training > 0 && html`<p class="notice">${counted(near.held_back_like_training, "image")} of val and test look like an image of training: accuracies measured on them may be too high.</p>`}
    <details><summary>${counted(near.images, "image")} ${near.images === 1 ? "looks" : "look"} like another one</summary>
      <ul>${[...near.across_splits, ...near.pairs].slice(0, 20).map(told)}</ul></details>`;
}
