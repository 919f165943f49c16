/** Names of components and datasets by their ids, each asked for once. */
import { get } from "../api/client.js";
import { href } from "../router.js";
import { html, useEffect, useState } from "../ui.js";

/** @type {Map<string, Promise<string>>} */
const names = new Map();

/** @param {string} place @param {string} id */
function nameOf(place, id) {
  const path = `v1/${place}/${encodeURIComponent(id)}`;
  const known = names.get(path);
  if (known) return known;
  const asked = get(path).then((found) => found.name || id, () => id); // what is gone has its id alone
  names.set(path, asked);
  return asked;
}

/** A link that shows the thing's name. @param {{ place: "components" | "datasets", id: string }} props */
export function NamedLink({ place, id }) {
  const [name, setName] = useState(id);
  useEffect(() => {
    let isShown = true;
    nameOf(place, id).then((found) => isShown && setName(found));
    return () => { isShown = false; };
  }, [place, id]);
  return html`<a href=${href([place, id])} title=${id}>${name}</a>`;
}

/** @param {{ place: "components" | "datasets", ids: string[] }} props */
export function NamedLinks({ place, ids }) {
  return ids.map((id, at) => html`${at > 0 && ", "}<${NamedLink} key=${id} place=${place} id=${id} />`);
}
