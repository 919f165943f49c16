/** The selection of a side: what the address says, which components that means, and how they are asked. */
import { weighed } from "../algebra/logits.js";

/** @typedef {import("../algebra/logits.js").Member} Member */
/**
 * @typedef {{ space: string, rule: string, composition: string, all: boolean, weights: Record<string, number> }} Selection
 *   `rule` "": the space's own; `composition`: the name under which it is stored, "" once it was changed;
 *   `all`: every ready component of the space, else those of `weights`
 */
/** @typedef {{ selection: Selection, space: string, rule: string, members: Member[], labels: string[] }} Model */

/** Names of the query; a second side has them with its prefix. */
const NAMES = ["composition", "components", "rule", "space"];

/** Rules, and what a person must know of each. @type {Record<string, string>} */
export const RULES = {
  joint: "as if one model had been trained on all their images",
  average: "every component counts the same",
  weighted: "every component counts as you say",
  discriminant: "as joint, with every label equally likely",
};

/**
 * Read a selection from an address.
 * @param {URLSearchParams} query @param {string} prefix @returns {Selection}
 */
export function readSelection(query, prefix = "") {
  const [composition, components, rule, space] = NAMES.map((name) => query.get(prefix + name) ?? "");
  const all = components === "" || components === "all";
  const pairs = all || components === "none" ? [] : components.split(",").filter(Boolean).map((each) => each.split(":"));
  return { space, rule, composition, all, weights: Object.fromEntries(pairs.map(([id, weight]) => [id, numberOf(weight)])) };
}

/**
 * Return what an address says of a selection.
 * @param {Selection} selection @param {string} prefix @returns {Record<string, string | undefined>}
 */
export function queryOf(selection, prefix = "") {
  const { composition, all, weights, rule, space } = selection;
  const listed = Object.entries(weights).map(([id, weight]) => (weight === 1 ? id : `${id}:${weight}`)).join(",");
  const values = composition ? [composition] : [undefined, all ? "all" : listed || "none", rule, space];
  return Object.fromEntries(NAMES.map((name, at) => [prefix + name, values[at]]));
}

/**
 * Return the selection that a stored composition holds.
 * @param {any} stored  as the service shows it @returns {Selection}
 */
export function selectionOf(stored) {
  const all = stored.components === "all";
  const pairs = all ? [] : stored.components.map((/** @type {any} */ each) => [each.id, each.weight ?? 1]);
  return { space: stored.space, rule: stored.rule, composition: stored.name, all, weights: Object.fromEntries(pairs) };
}

/**
 * Return the model that a selection means among a space's components.
 * @param {Selection} selection @param {any[]} components @param {{ name: string, default_rule: string }} space
 * @returns {Model}
 */
export function modelOf(selection, components, space) {
  const rule = selection.rule || space.default_rule;
  const ready = components.filter(isReady);
  const chosen = selection.all
    ? ready.filter((each) => !each.derived).map(({ id }) => ({ id, weight: 1 }))
    : ready.filter(({ id }) => Object.hasOwn(selection.weights, id)).map(({ id }) => ({ id, weight: selection.weights[id] }));
  const members = weighed(rule, chosen);
  const counted = new Set(members.filter(({ weight }) => weight !== 0).map(({ id }) => id));
  const labels = new Set(ready.filter(({ id }) => counted.has(id)).flatMap((each) => each.labels));
  return { selection, space: space.name, rule, members, labels: [...labels] };
}

/** Whether a component answers now. @param {any} component */
export function isReady(component) {
  return component.status === "ready" && !component.retraining;
}

/**
 * Return the fields by which a prediction or an evaluation is asked for this model.
 * @param {Model} model @returns {{ composition?: string, space?: string, rule?: string, components?: { id: string, weight?: number }[] }}
 */
export function asked({ selection, space, rule, members }) {
  if (selection.composition) return { composition: selection.composition };
  if (selection.all && rule !== "weighted") return { space, rule };
  const components = rule === "average" ? members.map(({ id }) => ({ id })) : members;
  return { space, rule, components };
}

/** What two models must have in common to give the same answers. @param {Model} model */
export function keyOf(model) {
  return JSON.stringify([asked(model), model.members]);
}

/** @param {string | undefined} text */
function numberOf(text) {
  const number = text === undefined || text === "" ? 1 : Number(text);
  return Number.isFinite(number) ? number : 1;
}
