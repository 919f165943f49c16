/** The charts of an evaluation as a picture, drawn from the same numbers. */
import { matrixOf } from "../algebra/confusion.js";
import { percent } from "../parts/texts.js";

const WIDTH = 900;
const MAX_LABELS = 40; // in the picture
const INK = "#1b2230";
const BLUE = "#2555c4";

/**
 * Draw confusion and reliability.
 * @param {any} evaluation @returns {Promise<Blob>}  a PNG
 */
export function drawCharts(evaluation) {
  const matrix = matrixOf(evaluation.confusion, MAX_LABELS);
  const bins = evaluation.probabilities?.reliability ?? [];
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = WIDTH + 90 + (bins.length ? 440 : 0);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  write(pen, `${percent(evaluation.accuracy)} of ${evaluation.num_images} images right, rule ${evaluation.rule}`, 30, 36, 18);
  write(pen, evaluation.id, WIDTH - 30, 36, 13, "right", 300);
  drawMatrix(pen, matrix, 60);
  if (bins.length) drawReliability(pen, bins, WIDTH + 100);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be made"))), "image/png"));
}

/** @param {CanvasRenderingContext2D} pen @param {import("../algebra/confusion.js").Matrix} matrix @param {number} top */
function drawMatrix(pen, { labels, rows, totals, left }, top) {
  const [start, size] = [150, (WIDTH - 180) / Math.max(labels.length, 1)];
  const small = Math.max(8, Math.min(14, size / 2.5));
  write(pen, `own labels in rows, answered ones in columns${left ? `; ${left} labels are not shown` : ""}`, 30, top + 12, 13);
  labels.forEach((label, row) => {
    const y = top + 110 + row * size;
    write(pen, label, start - 8, y + size / 2 + small / 3, small, "right");
    pen.save();
    pen.translate(start + (row + 0.5) * size + small / 3, top + 104);
    pen.rotate(-Math.PI / 2);
    write(pen, label, 0, 0, small, "left", 85);
    pen.restore();
    rows[row].forEach((images, column) => {
      pen.fillStyle = images ? BLUE : "#ffffff";
      pen.globalAlpha = images ? 0.08 + (0.5 * images) / totals[row] : 1;
      pen.fillRect(start + column * size, y, size - 1, size - 1);
      pen.globalAlpha = 1;
      if (images && size > 14) write(pen, String(images), start + (column + 0.5) * size, y + size / 2 + small / 3, small, "center");
    });
  });
}

/** @param {CanvasRenderingContext2D} pen @param {import("./numbers.js").Bin[]} bins @param {number} top */
function drawReliability(pen, bins, top) {
  const [start, size] = [150, 340];
  const y = (/** @type {number} */ share) => top + size * (1 - share);
  const most = Math.max(...bins.map(({ images }) => images));
  write(pen, "stated probability (across), share of right answers (up)", start, top + size + 40, 13);
  pen.strokeStyle = INK;
  pen.strokeRect(start, top, size, size);
  pen.beginPath();
  pen.moveTo(start, top + size);
  pen.lineTo(start + size, top);
  pen.stroke();
  for (const mark of [0, 0.5, 1]) {
    write(pen, percent(mark), start - 8, y(mark) + 4, 12, "right");
    write(pen, percent(mark), start + size * mark, top + size + 18, 12, "center");
  }
  pen.fillStyle = BLUE;
  for (const { probability, accuracy, images } of bins) {
    pen.beginPath();
    pen.arc(start + size * probability, y(accuracy), 4 + 8 * Math.sqrt(images / most), 0, 2 * Math.PI);
    pen.fill();
  }
}

/**
 * @param {CanvasRenderingContext2D} pen @param {string} text @param {number} x @param {number} y @param {number} size
 * @param {CanvasTextAlign} [align] @param {number} [room]  pixels; longer texts are made narrower
 */
function write(pen, text, x, y, size, align = "left", room = align === "right" ? 110 : WIDTH - 60) {
  pen.fillStyle = INK;
  pen.font = `${size}px system-ui, sans-serif`;
  pen.textAlign = align;
  pen.fillText(text.length > 60 ? `${text.slice(0, 59)}…` : text, x, y, room);
}
