/** Numbers, sizes and times as people read them. */

const SIZES = ["bytes", "kB", "MB", "GB", "TB"];

/** @param {number | null | undefined} value */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const step = value < 1000 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log10(value) / 3));
  return `${step ? (value / 1000 ** step).toPrecision(3) : value} ${SIZES[step]}`;
}

/**
 * A share as people read it; what is less than all, or more than nothing, is not shown as that.
 * @param {number | null | undefined} value  between 0 and 1
 */
export function percent(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1 && value >= 0.9995) return "> 99.9 %";
  if (value > 0 && value < 0.0005) return "< 0.1 %";
  return `${(100 * value).toFixed(1)} %`;
}

/** @param {number} count @param {string} noun */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${count === 1 ? noun : `${noun}s`}`;
}

/** A moment in the reader's own time zone. @param {string | null | undefined} text */
export function moment(text) {
  if (!text) return "–";
  return new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** The beginning of a hash; the whole belongs into a title. @param {string | null | undefined} hash */
export function short(hash) {
  return hash ? `${hash.slice(0, 12)}…` : "–";
}

/** A number with so many decimals and a true minus. @param {number | null | undefined} value @param {number} [digits] */
export function decimal(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}
