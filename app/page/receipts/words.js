/** A receipt in words: a sentence for every member of its body, of every version. */
import { bytes, counted, moment } from "../parts/texts.js";

/** @type {Record<string, (id: string, of?: string) => string>} */
const SUBJECTS = {
  component: (id) => `Component ${id} was deleted.`,
  dataset: (id) => `Dataset ${id} was deleted, with its images.`,
  image: (id, of) => `Image ${id} of dataset ${of} was deleted.`,
  several_images: (id) => `Several images of dataset ${id} were deleted together.`,
  labels: (id) => `Labels of dataset ${id} were given new names.`,
  label: (id, of) => `Image ${id} of dataset ${of} was given another label.`,
  images: (id) => `Images were added to dataset ${id}.`,
  space: (id) => `Space ${id} was deleted, with all that was in it.`,
};

/** @type {Record<string, string>} */
const OUTCOMES = {
  down_dated: "the share of what was deleted was subtracted at once; its file is, to the last byte, what a training without it gives",
  relabelled: "it has the new labels at once; its file is, to the last byte, what a training with them gives",
  updated: "it has the images that came, or are held back no more, at once; its file is, to the last byte, what a training with them gives",
  retraining: "its file is gone, and it takes no part in answers until it is trained again without what was deleted",
  queued: "its training had not begun, and begins with the images as they are now",
  unaffected: "it was trained without what was changed, and stays as it is",
};

/** What a table says of a name: receipts may name what every object has. @template T @param {Record<string, T>} table @param {any} name */
const own = (table, name) => (Object.hasOwn(table, String(name)) ? table[String(name)] : undefined);
/** @param {any} value */
const list = (value) => (Array.isArray(value) ? value : []);
/** @param {any} value */
const ids = (value) => list(value).map((each) => each?.id ?? each).join(", ");
/** @param {string} kind */
const plain = (kind) => String(kind).replaceAll("_", " ");

/** What was asked, in a sentence. @param {any} body */
export function subjectOf(body) {
  const { kind, id, dataset_id } = body?.subject ?? {};
  const says = own(SUBJECTS, kind) ?? ((/** @type {string} */ of) => `${plain(kind)} ${of} was deleted or changed.`);
  return says(String(id), String(dataset_id));
}

/** What became of components that stay. @param {any} body @returns {{ id: string, says: string }[]} */
export const outcomesOf = (body) => list(body?.components).map((each) => ({ id: String(each?.id), says: own(OUTCOMES, each?.outcome) ?? plain(each?.outcome) }));

/** @param {any} each  of `removed` */
function removed({ kind, id, count, bytes: size, sha256 }) {
  const of = [id, size !== undefined && bytes(size), sha256 && `SHA-256 ${sha256}`].filter(Boolean).join(", ");
  return `${count} × ${plain(kind)}${of ? ` (${of})` : ""}`;
}

/** @param {any} each  of `components` */
function outcome({ id, outcome: name, old_sha256: old, new_sha256: now }) {
  const files = old && old !== now ? ` Its file had the SHA-256 ${old}${now ? `, and now has ${now}` : ""}.` : "";
  return `${id}: ${own(OUTCOMES, name) ?? plain(name)}.${files}`;
}

/** @param {any} value  `invalidated` */
function invalidated(value) {
  const { compositions, solved_weights: solved, evaluations, batch_predictions: batches } = value ?? {};
  const lines = list(compositions).map(({ name, old_etag: old, new_etag: now }) => `Composition ${name} changed from version ${old} to ${now}.`);
  if (list(solved).length) lines.push(`Weights that were fitted with it are dropped: ${ids(solved)}.`);
  if (list(evaluations).length) lines.push(`Evaluations that used it are invalid: ${ids(evaluations)}.`);
  if (list(batches).length) lines.push(`Batch predictions that used it are invalid: ${ids(batches)}.`);
  return lines.length ? lines : ["No composition, evaluation or batch prediction had used it."];
}

/** @type {Record<string, [string, (value: any, body: any) => string | string[]]>} */
const MEMBERS = {
  subject: ["What was asked", (_, body) => subjectOf(body)],
  requested_at: ["Asked at", (value) => `${moment(value)} (${value}).`],
  requested_by: ["Asked by", (value) => (own({ local: "Somebody on a service that needs no key.", settings: "The key in the service's settings." }, value) ?? `The key with the id ${value}.`)],
  epoch: ["Epoch", (value) => `No answer as of epoch ${value}, or a later one, was made with what was deleted.`],
  subjects: ["Gone", (value) => (list(value).length ? `These ids are gone and are never used again: ${ids(value)}.` : "No id is gone.")],
  dataset_id: ["Dataset", (value) => `The dataset ${value} stays, without what was deleted.`],
  removed: ["Removed", (value) => list(value).map(removed)],
  added_images: ["Added", (value) => `The dataset gained ${counted(value, "image")}.`],
  components: ["Components of the dataset", (value) => list(value).map(outcome)],
  invalidated: ["Invalidated", invalidated],
  also_held: ["Held elsewhere too", ({ datasets, images, components }) => `Something else holds deleted data, byte for byte, and stays: ${counted(datasets, "dataset")} with ${counted(images, "image")} of it, and ${counted(components, "component")} with the same file.`],
  labels: ["Labels", (value) => list(value).map(({ space, count }) => (count ? `${counted(count, "label")} of space ${space} are gone; only whoever knows their names can recognise them here.` : `No label of space ${space} is gone.`))],
  manifests: ["Components before and after", (value) => list(value).map(({ space, before, after, components_before: had, components_after: has }) => `Space ${space} had ${counted(had, "ready component")} (hash ${before}) and has ${has} (hash ${after}).`)],
  probes: ["Probe", (value) => (value ? list(value).map(({ space, logits_sha256: hash }) => `The remaining components of space ${space} gave answers to fixed images of noise whose hash is ${hash}: a service that never had what was deleted gives the same.`) : "No probe was asked for: it would show that the remaining components answer as if the deleted had never been there.")],
  salt: ["Salt", (value) => `Hashes of your data are made with ${value}, so that nobody can compare two receipts, and only whoever has the content can recognise it.`],
  salted_archive_sha256: ["Archive", (value) => (value ? `The uploaded archive, as a salted hash: ${value}.` : "No archive's hash was kept.")],
  salted_image_sha256: ["Images", (value) => [`${counted(list(value).length, "image")}, as salted hashes:`, ...list(value)]],
  code: ["Code", ({ version, sha256 } = {}) => `Version ${version} of the service did it; the SHA-256 of its code is ${sha256}.`],
  environment: ["Environment", (value) => `${Object.entries(value ?? {}).map(([name, version]) => `${name} ${version}`).join(", ")}.`],
  not_covered: ["Not covered", (value) => list(value)],
  version: ["Version", (value) => `The receipt is written in version ${value} of its form.`],
};

/**
 * Return the members of a body that are there, each with its title and its sentences; those that this page does not know as JSON.
 * @param {any} body @returns {{ title: string, says: string[] }[]}
 */
export function explained(body) {
  const known = Object.keys(MEMBERS).filter((name) => Object.hasOwn(body ?? {}, name));
  const unknown = Object.keys(body ?? {}).filter((name) => !Object.hasOwn(MEMBERS, name));
  return [
    ...known.map((name) => ({ title: MEMBERS[name][0], says: [said(name, body)].flat().map(text) })),
    ...unknown.map((name) => ({ title: name, says: [`This page does not know it: ${JSON.stringify(body[name])}`] })),
  ];
}

/** @param {any} value */
const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** @param {string} name @param {any} body */
function said(name, body) {
  try {
    return MEMBERS[name][1](body[name], body);
  } catch {
    return JSON.stringify(body[name]); // a body that was changed may have any form
  }
}
