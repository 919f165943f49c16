/** The image to ask about: dropped, pasted, chosen from a disk, or picked from a dataset. */
import { problemOf, Problem, unreachable } from "../api/problems.js";
import { asProblem, useAll, useRows } from "../api/requests.js";
import { FileDrop } from "../parts/file_drop.js";
import { imageAddress, Thumbnail } from "../parts/images.js";
import { Choice } from "../parts/inputs.js";
import { Empty, Fault, Loading } from "../parts/states.js";
import { bytes } from "../parts/texts.js";
import { changeQuery, href } from "../router.js";
import { html, useCallback, useEffect, useState } from "../ui.js";

/** @typedef {{ blob: Blob, name: string, about: string }} Picture */

/**
 * @param {{ query: URLSearchParams, limits: any, picture: Picture | null, onPicture: (picture: Picture | null) => void }} props
 */
export function PictureChoice({ query, limits, picture, onPicture }) {
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [dataset, image] = [query.get("dataset"), query.get("image")];
  const take = (/** @type {Blob} */ blob, /** @type {string} */ name, /** @type {string} */ about) => {
    const isLarge = blob.size > limits.max_image_bytes;
    setProblem(isLarge ? new Problem(413, "image_too_large", `${name} has ${bytes(blob.size)}, the service takes images of up to ${bytes(limits.max_image_bytes)}`) : null);
    onPicture(isLarge ? null : { blob, name, about });
  };
  const own = useCallback((/** @type {File} */ file) => {
    changeQuery({ dataset: undefined, image: undefined, label: undefined, split: undefined });
    take(file, file.name, "");
  }, [limits]);
  useEffect(() => {
    if (!dataset || !image) return undefined;
    const controller = new AbortController();
    readImage(dataset, image, controller.signal).then(
      (blob) => take(blob, "Image of a dataset", aboutOf(query)),
      (error) => controller.signal.aborted || setProblem(asProblem(error)));
    return () => controller.abort();
  }, [dataset, image, limits]);
  return html`
    <section class="panel picture" aria-label="Image">
      <div class="given">
        ${picture && html`<${Preview} picture=${picture} />`}
        <${FileDrop} label=${picture ? "Another image" : "Image"} accept="image/*" hint="Or drop one here, or paste one." onFile=${own} />
      </div>
      <${DatasetImages} />
      ${problem && html`<${Fault} problem=${problem} />`}
    </section>`;
}

/** @param {{ picture: Picture }} props */
function Preview({ picture }) {
  const [url, setUrl] = useState("");
  useEffect(() => {
    const made = URL.createObjectURL(picture.blob);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [picture.blob]);
  return html`
    <figure>${url && html`<img src=${url} alt="The image that is asked about" />`}
      <figcaption>${picture.name} <span class="quiet">${[bytes(picture.blob.size), picture.about].filter(Boolean).join(", ")}</span></figcaption></figure>`;
}

function DatasetImages() {
  const [isOpen, setIsOpen] = useState(false);
  const [id, setId] = useState("");
  const { rows, isComplete, problem } = useAll(isOpen ? "v1/datasets" : null, { order: "-created_at" });
  const dataset = rows.find((each) => each.id === id) ?? rows[0];
  return html`
    <details onToggle=${(/** @type {any} */ event) => setIsOpen(event.target.open)}>
      <summary>Pick from a dataset</summary>
      ${problem && html`<${Fault} problem=${problem} />`}
      ${isComplete && rows.length === 0 && html`<${Empty}><p>There is no dataset yet.</p><p><a class="button" href=${href([])}>Begin with sample data</a></p></${Empty}>`}
      ${rows.length > 0 && html`
        <${Thumbnails} key=${dataset.id} dataset=${dataset}><${Choice} label="Dataset" value=${dataset.id} options=${rows.map((each) => [each.id, each.name])} onChoice=${setId} /></${Thumbnails}>`}
    </details>`;
}

/** @param {{ dataset: any, children?: any }} props */
function Thumbnails({ dataset, children }) {
  const [label, setLabel] = useState("");
  const { rows, next, problem, isLoading, more } = useRows(`v1/datasets/${encodeURIComponent(dataset.id)}/images`, { label }, 60);
  const pick = (/** @type {any} */ row) => changeQuery({ dataset: dataset.id, image: row.id, label: row.label, split: row.split ?? undefined });
  return html`
    <div class="bar">${children}<${Choice} label="Label" none="all" value=${label} options=${Object.keys(dataset.labels)} onChoice=${setLabel} /></div>
    <div class="thumbnails scroll" role="group" aria-label=${`Images of ${dataset.name}`}>
      ${rows.map((row) => html`
        <button class="pick" key=${row.id} title=${row.path} onClick=${() => pick(row)}>
          <${Thumbnail} dataset=${dataset.id} image=${row.id} size=${128} text=${`Ask about ${row.path}`} />
          <span>${row.label}</span></button>`)}
      ${isLoading && html`<${Loading} />`}
    </div>
    ${problem && html`<${Fault} problem=${problem} />`}
    ${next && html`<button onClick=${more}>More</button>`}`;
}

/** What a dataset says of its image. @param {URLSearchParams} query */
function aboutOf(query) {
  const [label, split] = [query.get("label"), query.get("split")];
  const isHeldOut = split === "val" || split === "test";
  return [label && `labelled ${label}`, isHeldOut ? `of split ${split}` : "components trained on this dataset have seen it, so their answer may flatter"].filter(Boolean).join(", ");
}

/** @param {string} dataset @param {string} image @param {AbortSignal} signal @returns {Promise<Blob>} */
async function readImage(dataset, image, signal) {
  let answer;
  try {
    answer = await fetch(imageAddress(dataset, image), { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw unreachable();
  }
  if (!answer.ok) throw problemOf(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer.blob();
}
