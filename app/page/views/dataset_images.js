/** The images of a dataset: a grid that holds any number, and one of them with what can be done to it. */
import { useRows } from "../api/requests.js";
import { Dialog } from "../parts/dialog.js";
import { Facts, Name } from "../parts/facts.js";
import { Grid, imageAddress, Thumbnail } from "../parts/images.js";
import { Choice } from "../parts/inputs.js";
import { Relabel } from "../parts/relabel.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { bytes, counted, short } from "../parts/texts.js";
import { changeQuery, href } from "../router.js";
import { html, useState } from "../ui.js";

/** @typedef {import("../api/schema.js").components["schemas"]} Schemas */

/** @param {{ dataset: Schemas["DatasetOut"], query: URLSearchParams, onChanged: () => void }} props */
export function Images({ dataset, query, onChanged }) {
  const label = query.get("label") ?? "", split = query.get("split") ?? "";
  const { rows, next, problem, isLoading, more, reload } = useRows(`v1/datasets/${encodeURIComponent(dataset.id)}/images`, { label, split });
  const [chosen, setChosen] = useState(/** @type {Schemas["ImageOut"] | null} */ (null));
  const splits = Object.keys(dataset.splits ?? {});
  return html`
    <form class="filters" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()} aria-label="Narrow the images">
      <${Choice} label="Label" value=${label} none="all" options=${Object.entries(dataset.labels).map(([name, count]) => [name, `${name} (${count})`])}
        onChoice=${(/** @type {string} */ chosen) => changeQuery({ label: chosen })} />
      ${splits.length > 0 && html`<${Choice} label="Split" value=${split} none="all" options=${[...splits, "none"]}
        onChoice=${(/** @type {string} */ chosen) => changeQuery({ split: chosen })} />`}
    </form>
    ${problem && html`<${Fault} problem=${problem} again=${reload} />`}
    ${rows.length > 0 ? html`
      <${Grid} rows=${rows} label="images" onEnd=${more} draw=${(/** @type {Schemas["ImageOut"]} */ image) => html`
        <button class="shot" onClick=${() => setChosen(image)}>
          <${Thumbnail} dataset=${dataset.id} image=${image.id} text="" />
          <span class="cut"><${Name} text=${image.label} /></span><span class="sr">${image.path}</span>
        </button>`} />
      <p class="quiet" role="status">${counted(rows.length, "image")}${next === null ? "" : ` of ${(label ? dataset.labels[label] : dataset.num_images)?.toLocaleString("en")} read; scroll for more`}</p>`
      : isLoading ? html`<${Loading} />` : !problem && html`<${Empty}><p>No image is like this.</p><//>`}
    ${chosen && html`<${One} dataset=${dataset} image=${chosen} onClose=${() => setChosen(null)} onChanged=${() => { reload(); onChanged(); }} />`}`;
}

/** @param {{ dataset: Schemas["DatasetOut"], image: Schemas["ImageOut"], onClose: () => void, onChanged: () => void }} props */
function One({ dataset, image, onClose, onChanged }) {
  const [isChanging, setIsChanging] = useState(false);
  if (isChanging) return html`<${Relabel} dataset=${dataset} image=${image} onClose=${onClose} onDone=${onChanged} />`;
  return html`
    <${Dialog} title=${html`<${Name} text=${image.path} />`} onClose=${onClose}>
      <img class="large" src=${imageAddress(dataset.id, image.id, 512)} alt=${`labelled ${image.label}`} />
      <${Facts} rows=${[
        ["Label", html`<${Name} text=${image.label} />`], ["Split", image.split], ["Group", image.group && html`<${Name} text=${image.group} />`],
        ["Size", `${image.width} × ${image.height} pixels, ${bytes(image.bytes)}`], ["Kind", image.media_type],
        ["Damaged", image.damaged && "its bytes were missing or changed when they were last read"],
        ["Id", html`<code>${image.id}</code>`], ["SHA-256", html`<code title=${image.sha256}>${short(image.sha256)}</code>`],
      ]} />
      <div class="bar">
        <button onClick=${() => setIsChanging(true)}>Change its label …</button>
        <a class="button danger" href=${href(["unlearn", "datasets", dataset.id, "images", image.id])}>Remove it …</a>
        <button onClick=${onClose}>Close</button>
      </div>
    <//>`;
}
