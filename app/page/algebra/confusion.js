/** Confusion: which labels were answered for which, as a matrix. */
import { at } from "./logits.js";

/** @typedef {Record<string, Record<string, number>>} Counts  own label → answered label → images, without the zeros */
/**
 * @typedef {{ labels: string[], rows: number[][], totals: number[], left: number }} Matrix
 *   `rows`: images by own and answered label, in the labels' order; `totals`: images of each own label; `left`: labels that are not shown
 */

/**
 * Return the matrix of at most so many labels: those with most wrong answers, in the order of their names.
 * @param {Counts} counts @param {number} most @returns {Matrix}
 */
export function matrixOf(counts, most) {
  /** @type {Map<string, number>} */
  const wrong = new Map();
  for (const [own, answers] of Object.entries(counts)) {
    wrong.set(own, wrong.get(own) ?? 0);
    for (const [answered, images] of Object.entries(answers)) {
      for (const label of own === answered ? [own] : [own, answered]) {
        wrong.set(label, (wrong.get(label) ?? 0) + (own === answered ? 0 : images));
      }
    }
  }
  const all = [...wrong].sort((one, other) => other[1] - one[1] || compare(one[0], other[0])).map(([label]) => label);
  const labels = all.slice(0, most).sort(compare);
  const answersOf = (/** @type {string} */ own) => (Object.hasOwn(counts, own) ? counts[own] : {});
  return {
    labels,
    rows: labels.map((own) => labels.map((answered) => at(answersOf(own), answered))),
    totals: labels.map((own) => Object.values(answersOf(own)).reduce((sum, images) => sum + images, 0)),
    left: all.length - labels.length,
  };
}

/** Numbers by their size, other texts by their letters. @param {string} one @param {string} other */
export function compare(one, other) {
  return one.localeCompare(other, "en", { numeric: true });
}
