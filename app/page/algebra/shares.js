/** Shares of a logit as a stacked bar: what adds lies right of zero, what takes away lies left of it. */

import { at } from "./logits.js";

/** @typedef {import("./logits.js").Parts} Parts */
/** @typedef {{ key: string, values: Record<string, number>, count: number }} Series  of `count` components */

/** Keys of the series that are no component. */
export const BASE = "base";
export const OTHERS = "others";

/**
 * Return the base, the components that give most to these labels, and all others together.
 * @param {Parts} parts @param {string[]} labels @param {number} most  series of single components
 * @returns {Series[]}
 */
export function seriesOf(parts, labels, most) {
  const size = (/** @type {Record<string, number>} */ logits) =>
    labels.reduce((sum, label) => sum + Math.abs(at(logits, label)), 0);
  const sizes = new Map(parts.components.map(({ id, logits }) => [id, size(logits)]));
  const order = [...parts.components].sort((one, other) => (sizes.get(other.id) ?? 0) - (sizes.get(one.id) ?? 0));
  const cut = order.length <= most + 1 ? order.length : most;
  const single = order.slice(0, cut).map(({ id, logits }) => ({ key: id, values: logits, count: 1 }));
  const rest = order.slice(cut);
  const others = Object.fromEntries(labels.map((label) => [
    label, rest.reduce((sum, { logits }) => sum + at(logits, label), 0),
  ]));
  return [
    { key: BASE, values: parts.base, count: 0 },
    ...single,
    ...(rest.length ? [{ key: OTHERS, values: others, count: rest.length }] : []),
  ];
}

/**
 * Return where each value lies when they are stacked, in the values' order.
 * @param {number[]} values @returns {{ start: number, end: number }[]}  start below end
 */
export function stacked(values) {
  let [low, high] = [0, 0];
  return values.map((value) => {
    if (value < 0) return { start: (low += value), end: low - value };
    return { start: high, end: (high += value) };
  });
}

/**
 * Return the range that holds zero and all of these bars.
 * @param {{ start: number, end: number }[][]} bars @returns {{ low: number, high: number }}
 */
export function rangeOf(bars) {
  const all = bars.flat();
  const low = all.reduce((least, { start }) => Math.min(least, start), 0);
  const high = all.reduce((most, { end }) => Math.max(most, end), 0);
  return high > low ? { low, high } : { low: 0, high: 1 };
}

/**
 * Return the places of these keys in a row of colours: a key keeps the place that it had.
 * @param {Map<string, number>} before @param {string[]} keys @returns {Map<string, number>}
 */
export function placesOf(before, keys) {
  const kept = new Map(keys.filter((key) => before.has(key)).map((key) => [key, before.get(key) ?? 0]));
  const taken = new Set(kept.values());
  let free = 0;
  for (const key of keys) {
    if (kept.has(key)) continue;
    while (taken.has(free)) free += 1;
    kept.set(key, free);
    taken.add(free);
  }
  return kept;
}
