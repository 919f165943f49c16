/** Tables as CSV that a spreadsheet opens as text, whatever strangers called their labels. */

/** Beginnings by which a spreadsheet takes a cell for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/**
 * Return rows of cells as CSV (RFC 4180); a cell that begins like a formula gets a quote before it.
 * @param {(string | number)[][]} rows
 */
export function csvOf(rows) {
  return rows.map((row) => `${row.map(cellOf).join(",")}\r\n`).join("");
}

/** @param {string | number} value */
function cellOf(value) {
  const text = typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Give the browser a file to keep.
 * @param {Blob} blob @param {string} name
 */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
