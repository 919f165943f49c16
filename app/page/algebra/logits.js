/** Logits: rankings as the service makes them, and answers by other weights, from numbers that it gave once. */

/** @typedef {Record<string, number>} Logits  by label */
/** @typedef {{ label: string, logit: number, probability: number }} Ranked */

/**
 * Return a label's logit, 0 for none: a label may be called as something that every object has.
 * @param {Logits} logits @param {string} label
 */
export function at(logits, label) {
  return Object.hasOwn(logits, label) ? logits[label] : 0;
}

/**
 * Return the softmax of logits over a temperature; null stands for 1.
 * @param {number[]} logits @param {number | null} [temperature] @returns {number[]}
 */
export function softmax(logits, temperature = null) {
  const highest = logits.reduce((most, each) => Math.max(most, each), -Infinity);
  const powers = logits.map((each) => Math.exp((each - highest) / (temperature ?? 1)));
  const sum = powers.reduce((total, each) => total + each, 0);
  return powers.map((each) => each / sum);
}

/**
 * Return all labels with their shares of the softmax, best first; equal logits go by label.
 * @param {Logits} logits @param {number | null} [temperature] @returns {Ranked[]}
 */
export function ranked(logits, temperature = null) {
  const labels = Object.entries(logits);
  const shares = softmax(labels.map(([, logit]) => logit), temperature);
  return labels
    .map(([label, logit], place) => ({ label, logit, probability: shares[place] }))
    .sort((one, other) => other.logit - one.logit || (one.label < other.label ? -1 : 1));
}

/** Return the best logit less the second one; null without a second. @param {Ranked[]} ranking */
export function marginOf(ranking) {
  return ranking.length < 2 ? null : ranking[0].logit - ranking[1].logit;
}

/**
 * Return why an answer has no label by these bounds, or "".
 * @param {number | null} novelty @param {number | null} margin
 * @param {{ above: number | null, below: number | null }} bounds
 */
export function abstention(novelty, margin, { above, below }) {
  if (above !== null && novelty !== null && novelty > above) {
    return `its novelty ${novelty.toPrecision(4)} is above ${above}`;
  }
  if (below !== null && margin !== null && margin < below) {
    return `its margin ${margin.toPrecision(4)} is below ${below}`;
  }
  return "";
}

/** @typedef {{ id: string, weight: number }} Member */
/** @typedef {{ base: Logits, components: { id: string, logits: Logits }[] }} Parts */

/** Rules whose answer is linear in the weights: base + Σ weight · direction. */
export const LINEAR_RULES = ["average", "weighted"];

/**
 * Return members with the weights by which a rule counts them: `average` shares one equally.
 * @param {string} rule @param {Member[]} members @returns {Member[]}
 */
export function weighed(rule, members) {
  return rule === "average" ? members.map(({ id }) => ({ id, weight: 1 / members.length })) : members;
}

/**
 * Return what base and members give to each label, by the linear rules; null where the directions lack
 * a member or a label. A member of weight 0 is none, and brings no labels along.
 * @param {Parts} directions  each component's change of the logits at weight one
 * @param {Member[]} members  with weights as the rule counts them
 * @param {(id: string) => string[]} labelsOf  the labels that a component was trained on
 * @returns {Parts | null}
 */
export function reweighted(directions, members, labelsOf) {
  const counted = members.filter(({ weight }) => weight !== 0);
  const known = new Map(directions.components.map(({ id, logits }) => [id, logits]));
  if (counted.some(({ id }) => !known.has(id))) return null;
  const labels = [...new Set(counted.flatMap(({ id }) => labelsOf(id)))];
  if (labels.some((label) => !Object.hasOwn(directions.base, label))) return null;
  return {
    base: pick(directions.base, labels, 1),
    components: counted.map(({ id, weight }) => ({ id, logits: pick(known.get(id) ?? {}, labels, weight) })),
  };
}

/**
 * Return the logits that parts add up to.
 * @param {Parts} parts @returns {Logits}
 */
export function summed({ base, components }) {
  return Object.fromEntries(Object.entries(base).map(([label, start]) => [
    label, components.reduce((sum, { logits }) => sum + at(logits, label), start),
  ]));
}

/**
 * Return the one member that is missing of those that were asked, if all others count as they did.
 * @param {Member[]} asked @param {Member[]} now @returns {string | null}
 */
export function leftOut(asked, now) {
  const weights = new Map(now.map(({ id, weight }) => [id, weight]));
  const before = asked.filter(({ weight }) => weight !== 0);
  const missing = before.filter(({ id }) => !weights.get(id));
  const same = before.filter(({ id, weight }) => weights.get(id) === weight);
  const counted = now.filter(({ weight }) => weight !== 0);
  return missing.length === 1 && same.length === before.length - 1 && same.length === counted.length ? missing[0].id : null;
}

/** @param {Logits} logits @param {string[]} labels @param {number} factor @returns {Logits} */
function pick(logits, labels, factor) {
  return Object.fromEntries(labels.map((label) => [label, factor * at(logits, label)]));
}
