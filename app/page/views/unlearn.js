/** Unlearn: find data, preview what its deletion would change, and delete it. */
import { Find } from "../unlearn/find.js";
import { ImageChoice, ImageDeletion } from "../unlearn/images.js";
import { ComponentDeletion, DatasetDeletion } from "../unlearn/previews.js";
import { html } from "../ui.js";

/** @param {{ path: string[], query: URLSearchParams }} props */
export function View({ path: [kind, id, of, image], query }) {
  if (kind === "components" && id) return html`<${ComponentDeletion} key=${id} id=${id} />`;
  if (kind === "datasets" && id && of === "images") {
    return image ? html`<${ImageDeletion} key=${image} groups=${[{ dataset: id, images: [image] }]} />` : html`<${ImageChoice} key=${id} dataset=${id} />`;
  }
  if (kind === "datasets" && id) return html`<${DatasetDeletion} key=${id} id=${id} />`;
  const groups = kind === "images" ? groupsOf(query.get("of") ?? "") : [];
  return groups.length ? html`<${ImageDeletion} key=${query.get("of")} groups=${groups} />` : html`<${Find} />`;
}

/** Return the images by dataset. @param {string} text  `dataset/image,…` */
function groupsOf(text) {
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  for (const each of text.split(",").filter(Boolean)) {
    const [dataset, image] = each.split("/", 2);
    if (image && !groups.get(dataset)?.includes(image)) groups.set(dataset, [...(groups.get(dataset) ?? []), image]);
  }
  return [...groups].map(([dataset, images]) => ({ dataset, images }));
}
