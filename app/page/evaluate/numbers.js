/** The numbers of an evaluation: confusion, accuracy by label, and how far probabilities are to be believed. */
import { compare, matrixOf } from "../algebra/confusion.js";
import { counted, decimal, percent } from "../parts/texts.js";
import { html, useMemo, useState } from "../ui.js";

const MAX_LABELS = 100; // in the matrix
const DEPTH = 45; // percent of the shade of a cell with all images of its row; text stays readable on it

/**
 * The confusion matrix: own labels in rows, answered ones in columns; a cell shows its images.
 * @param {{ confusion: import("../algebra/confusion.js").Counts, onCell: (label: string, answered: string) => void }} props
 */
export function Confusion({ confusion, onCell }) {
  const matrix = useMemo(() => matrixOf(confusion, MAX_LABELS), [confusion]);
  const { labels, rows, totals, left } = matrix;
  return html`
    <h2 id="confusion">Confusion</h2>
    <p class="quiet">Rows: the images' own labels. Columns: what was answered. Darker: a larger share of the row.
      ${left > 0 && ` The ${labels.length} labels with most wrong answers; ${left} are not shown.`}</p>
    <div class=${`scroll matrix ${labels.some((label) => label.length > 3) ? "tall" : ""}`} tabindex="0" role="region" aria-labelledby="confusion">
      <table>
        <thead><tr><th scope="col">own \\ answered</th>${labels.map((label) => html`<th scope="col" title=${label}><span>${label}</span></th>`)}</tr></thead>
        <tbody>${labels.map((own, row) => html`
          <tr key=${own}><th scope="row" title=${own}>${own}</th>
            ${rows[row].map((images, column) => html`
              <td class=${row === column ? "right" : ""} style=${{ background: shade(images, totals[row]) }}>
                ${images > 0 && html`<button class="cell" aria-label=${`${images} of ${own} answered ${labels[column]}`} onClick=${() => onCell(own, labels[column])}>${images}</button>`}</td>`)}
          </tr>`)}</tbody>
      </table>
    </div>`;
}

/** @param {number} images @param {number} total */
function shade(images, total) {
  return images ? `color-mix(in srgb, var(--accent) ${Math.round(4 + (DEPTH - 4) * (images / total))}%, transparent)` : "";
}

/**
 * How often each label was answered rightly, the worst first.
 * @param {{ labels: Record<string, { images: number, correct: number, accuracy: number }> }} props
 */
export function LabelAccuracy({ labels }) {
  const [isByName, setIsByName] = useState(false);
  const rows = Object.entries(labels).sort((one, other) => (isByName ? 0 : one[1].accuracy - other[1].accuracy) || compare(one[0], other[0]));
  return html`
    <h2>Accuracy by label</h2>
    <div class="bar"><button onClick=${() => setIsByName(!isByName)}>${isByName ? "Worst first" : "By name"}</button></div>
    <div class="scroll" tabindex="0" role="region" aria-label="Accuracy by label">
      <table>
        <thead><tr><th scope="col">Label</th><th scope="col" class="number">Right</th><th scope="col" class="number">Images</th><th scope="col">Accuracy</th></tr></thead>
        <tbody>${rows.map(([label, { images, correct, accuracy }]) => html`
          <tr key=${label}><th scope="row">${label}</th><td class="number">${correct}</td><td class="number">${images}</td>
            <td><span class="meter"><i style=${{ width: `${100 * accuracy}%` }}></i></span> ${percent(accuracy)}</td></tr>`)}</tbody>
      </table>
    </div>`;
}

const SIZE = 240; // of the diagram, in its own units

/** @typedef {{ above: number, images: number, probability: number, accuracy: number }} Bin */

/**
 * Probabilities against what was found, over the bins of an evaluation.
 * @param {{ probabilities: any, calibration: any }} props  as the service shows them
 */
export function Reliability({ probabilities, calibration }) {
  const { reliability, expected_calibration_error: error, negative_log_likelihood: loss, brier_score: brier, unknown_labels: unknown } = probabilities;
  return html`
    <h2>Probabilities</h2>
    <div class="split">
      <${Diagram} bins=${reliability} />
      <dl class="facts">
        <dt>Calibration error</dt><dd>${percent(error)} <span class="quiet">how far the stated probability is from the share of right answers, on average (ECE over 15 bins). 0 is best</span></dd>
        <dt>Log loss</dt><dd>${decimal(loss, 3)} <span class="quiet">minus the log of the true label's probability, on average (NLL). 0 is best; a sure wrong answer costs most</span></dd>
        <dt>Brier score</dt><dd>${decimal(brier, 3)} <span class="quiet">squared error over all labels, from 0 to 2. 0 is best</span></dd>
        <dt>Temperature</dt><dd>${decimal(calibration?.temperature, 2)} <span class="quiet">${calibration?.temperature ? `by ${counted(calibration.images, "training image")} left out` : `not calibrated: ${calibration?.no_temperature ?? "no calibration"}`}</span></dd>
        ${unknown > 0 && html`<dt>Without a known label</dt><dd>${counted(unknown, "image")} <span class="quiet">whose own label no component knows: log loss and Brier score leave them out</span></dd>`}
      </dl>
    </div>
    <details><summary>The diagram as a table</summary>
      <div class="scroll" tabindex="0" role="region" aria-label="Reliability"><table>
        <thead><tr><th scope="col">Probability above</th><th scope="col" class="number">Images</th><th scope="col" class="number">Mean probability</th><th scope="col" class="number">Accuracy</th></tr></thead>
        <tbody>${reliability.map((/** @type {Bin} */ bin) => html`<tr><th scope="row">${percent(bin.above)}</th><td class="number">${bin.images}</td><td class="number">${percent(bin.probability)}</td><td class="number">${percent(bin.accuracy)}</td></tr>`)}</tbody>
      </table></div></details>`;
}

/** @param {{ bins: Bin[] }} props */
function Diagram({ bins }) {
  const most = Math.max(...bins.map(({ images }) => images), 1);
  const y = (/** @type {number} */ share) => SIZE * (1 - share);
  return html`
    <figure class="chart">
      <svg viewBox="-46 -10 312 290" role="img" aria-label="Reliability: accuracy over stated probability; on the line, probabilities are right">
        ${[0, 0.5, 1].map((mark) => html`<g class="axis">
          <line x1="0" x2=${SIZE} y1=${y(mark)} y2=${y(mark)} /><text x="-6" y=${y(mark) + 4} text-anchor="end">${100 * mark} %</text>
          <text x=${SIZE * mark} y=${SIZE + 18} text-anchor="middle">${100 * mark} %</text></g>`)}
        <line class="ideal" x1="0" y1=${SIZE} x2=${SIZE} y2="0" />
        ${bins.map(({ probability, accuracy, images }) => html`
          <line class="gap" x1=${SIZE * probability} x2=${SIZE * probability} y1=${y(probability)} y2=${y(accuracy)} />
          <circle class="point" cx=${SIZE * probability} cy=${y(accuracy)} r=${3 + 7 * Math.sqrt(images / most)}><title>${`${images} images, said ${percent(probability)}, right ${percent(accuracy)}`}</title></circle>`)}
        <text x=${SIZE / 2} y=${SIZE + 34} text-anchor="middle">stated probability</text>
      </svg>
      <figcaption class="quiet">Upwards: how often the answers were right. A point below the line: surer than right. Larger points: more images.</figcaption>
    </figure>`;
}
