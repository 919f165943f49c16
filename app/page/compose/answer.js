/** An answer: the label, how sure and how new, what it came from, and how good such answers are. */
import { abstention, at, marginOf } from "../algebra/logits.js";
import { BASE, OTHERS, placesOf, rangeOf, seriesOf, stacked } from "../algebra/shares.js";
import { counted, decimal, percent } from "../parts/texts.js";
import { href } from "../router.js";
import { html, useRef, useState } from "../ui.js";
import { RULES } from "./selection.js";

const NEAR = 1e-9; // weights that are the same number
const MAX_SINGLE = 7; // components with a colour of their own
const WIDE = 6; // percent of a bar that a number fits into
const FEW = 5; // labels that are shown at first

/** How near a `joint` answer is to one training on all data. @type {Record<string, string>} */
const NEARNESS = {
  exact: "exactly what one training on all their data gives",
  refined: "refined by passes over all their images",
  one_shot: "a quick approximation, because block scopes have no exact one",
};

/** @typedef {import("./answering.js").Shown} Shown */
/** @typedef {import("./selection.js").Model} Model */
/** @typedef {import("../algebra/logits.js").Ranked} Ranked */
/** @typedef {import("../algebra/logits.js").Parts} Parts */
/** @typedef {{ above: number | null, below: number | null }} Bounds */

/**
 * @param {{ shown: Shown, model: Model, isOld: boolean, whyNoParts: string, bounds: Bounds,
 *   nameOf: (id: string) => string, onAsk: () => void, children?: any }} props
 */
export function Answer({ shown, model, isOld, whyNoParts, bounds, nameOf, onAsk, children }) {
  const [isWhole, setIsWhole] = useState(false);
  const { ranking, parts, how, known, without } = shown;
  const rows = isWhole ? ranking : ranking.slice(0, FEW);
  const names = (/** @type {string} */ id) => (id === OTHERS ? `all but ${nameOf(without ?? "")}` : nameOf(id));
  const reason = abstention(known.result.novelty ?? null, marginOf(ranking), bounds);
  const score = how === "asked" && known.prediction.calibration?.temperature ? "Probability" : "Score";
  return html`
    <div class=${isOld ? "answer old" : "answer"}>
      <p class="verdict" aria-live="polite">${reason || ranking.length === 0 ? "No label" : html`<bdi>${ranking[0].label}</bdi>`}
        ${ranking.length > 0 && !reason && html` <span class="quiet">${score.toLowerCase()} ${percent(ranking[0].probability)}</span>`}</p>
      ${reason && html`<p>Abstained: ${reason}. The best label would have been ${ranking[0]?.label}.</p>`}
      <${Origin} shown=${shown} nameOf=${nameOf} onAsk=${onAsk} hasParts=${!whyNoParts} />
      <${Facts} shown=${shown} rule=${isOld ? known.model.rule : model.rule} score=${score} />
      ${children}
      <h3>${parts ? "What each component gave to each label" : "Labels"}</h3>
      <${Bars} ranking=${rows} parts=${parts} nameOf=${names} score=${score} />
      ${ranking.length > FEW && html`<button onClick=${() => setIsWhole(!isWhole)}>${isWhole ? "Fewer labels" : `All ${ranking.length} labels`}</button>`}
      ${whyNoParts && html`<p class="notice">${whyNoParts}</p>`}
      ${parts && html`<${PartsTable} ranking=${rows} parts=${parts} nameOf=${names} />`}
      <${LeftOut} prediction=${known.prediction} nameOf=${nameOf} />
    </div>`;
}

/** Where the numbers come from, if not from an answer to this very selection. @param {{ shown: Shown, nameOf: (id: string) => string, onAsk: () => void, hasParts: boolean }} props */
function Origin({ shown, nameOf, onAsk, hasParts }) {
  if (shown.how === "asked") return null;
  if (shown.how === "reweighted") {
    return html`<p class="notice">Computed in this page, exactly, without a request. Scores are not calibrated for these weights.${" "}
      <button class="link" onClick=${onAsk}>Calibrate</button></p>`;
  }
  return html`<p class="notice">Without <strong>${nameOf(shown.without ?? "")}</strong>: the service's answer of all others, fetched together with the whole one. Scores are not calibrated for it.${" "}
    ${hasParts && html`<button class="link" onClick=${onAsk}>Show what each other component gives</button>`}</p>`;
}

/** @param {{ shown: Shown, rule: string, score: string }} props */
function Facts({ shown, rule, score }) {
  const { known, ranking, how } = shown;
  const { calibration, joint } = known.prediction;
  const { novelty } = known.result;
  const others = how === "asked" ? "" : " (of the selection asked before)";
  return html`
    <dl class="facts">
      <dt>Rule</dt><dd><strong>${rule}</strong>: ${rule === "joint" && joint ? NEARNESS[joint] : RULES[rule]}</dd>
      <dt>${score}</dt><dd>${percent(ranking[0]?.probability)} <span class="quiet">${calibrationOf(calibration, score)}</span></dd>
      <dt>Novelty</dt><dd>${novelty === null || novelty === undefined
        ? html`<span class="quiet">unknown: ${calibration?.no_novelty ?? "not asked"}</span>`
        : html`${decimal(novelty, 3)} <span class="quiet">${novelty >= 0.99 ? "unlike the images of training" : "of 1: the share of training images that were less new"}${others}</span>`}</dd>
      <dt>Margin</dt><dd>${decimal(marginOf(ranking))} <span class="quiet">best logit less the second</span></dd>
    </dl>`;
}

/** @param {any} calibration @param {string} score */
function calibrationOf(calibration, score) {
  if (score === "Score") return `no calibrated probability${calibration?.no_temperature ? `: ${calibration.no_temperature}` : ""}`;
  const { images, dataset_images: named } = calibration;
  return `calibrated by ${counted(named ?? images, "image")}${named ? " of a dataset" : " of the training, each left out"}`;
}

/** Components that the answer is without, for a while. @param {{ prediction: any, nameOf: (id: string) => string }} props */
function LeftOut({ prediction, nameOf }) {
  const retraining = prediction.retraining ?? [];
  const damaged = (prediction.unavailable_components ?? []).map((/** @type {any} */ each) => each.id);
  return html`
    ${retraining.length > 0 && html`<p class="notice">Left out while they are trained again: ${retraining.map(nameOf).join(", ")}.</p>`}
    ${damaged.length > 0 && html`<p class="notice">Left out because their files are damaged: ${damaged.map(nameOf).join(", ")}.</p>`}`;
}

/**
 * The accuracy that was measured of a selection, and of the same components by other rules.
 * @param {{ model: Model, evaluations: any[], evaluate: string }} props  `evaluate`: the address that evaluates it
 */
export function Accuracy({ model, evaluations, evaluate }) {
  const same = evaluations.filter((each) => each.accuracy !== null && hasComponents(each, model));
  const own = same.filter((each) => each.rule === model.rule && hasWeights(each, model));
  const other = same.filter((each) => each.rule !== model.rule);
  const rules = [...new Set(other.map(({ rule }) => rule))].map((rule) => other.find((each) => each.rule === rule));
  return html`
    <p>${own.length ? html`Measured accuracy: <${Measured} evaluation=${bestOf(own)} />` : html`<span class="quiet">No recent evaluation of exactly this selection.</span> <a href=${evaluate}>Evaluate</a>`}
      ${rules.map((each) => html`<br /><span class="quiet">The same components by ${each.rule}${each.rule === "weighted" ? ", with other weights" : ""}: <${Measured} evaluation=${each} /></span>`)}</p>`;
}

/** @param {{ evaluation: any }} props */
function Measured({ evaluation }) {
  return html`<a href=${href(["evaluate", evaluation.id])}>${percent(evaluation.accuracy)}</a>${evaluation.trained_on ? " (on images of its training)" : ""}`;
}

/** The latest, of those without training images if there are any. @param {any[]} evaluations */
function bestOf(evaluations) {
  return evaluations.find((each) => each.trained_on === 0) ?? evaluations[0];
}

/** @param {any} evaluation @param {Model} model */
function hasComponents(evaluation, { members }) {
  const ids = new Set(members.map(({ id }) => id));
  return evaluation.components.length === ids.size && evaluation.components.every((/** @type {any} */ { id }) => ids.has(id));
}

/** @param {any} evaluation @param {Model} model */
function hasWeights(evaluation, { members }) {
  const weights = new Map(members.map(({ id, weight }) => [id, weight]));
  return evaluation.components.every((/** @type {any} */ { id, weight }) => Math.abs(weight - (weights.get(id) ?? NaN)) < NEAR);
}

/**
 * Labels with their logits as stacked bars: what the base and each component gave to each label.
 * @param {{ ranking: Ranked[], parts: Parts | null, nameOf: (id: string) => string, score: string }} props
 *   `score`: what the shares of the softmax are called
 */
export function Bars({ ranking, parts, nameOf, score }) {
  const places = useRef(/** @type {Map<string, number>} */ (new Map()));
  const series = parts ? seriesOf(parts, ranking.map(({ label }) => label), MAX_SINGLE) : [];
  places.current = placesOf(places.current, series.map(({ key }) => key).filter((key) => key !== BASE && key !== OTHERS));
  const drawn = series
    .map((each) => ({ ...each, place: placeOf(each.key, places.current), name: each.count > 1 ? counted(each.count, "other component") : nameOf(each.key) }))
    .sort((one, other) => one.place - other.place);
  const bars = ranking.map(({ label }) => stacked(drawn.map(({ values }) => at(values, label))));
  const range = rangeOf(bars);
  return html`
    <ol class="ranking">
      ${ranking.map((each, row) => html`
        <li key=${each.label}>
          <span class="label" title=${each.label}>${each.label}</span>
          <span class="number" title=${score}>${percent(each.probability)}</span>
          ${parts && html`<${Bar} label=${each.label} logit=${each.logit} series=${drawn} bar=${bars[row]} range=${range} />`}
          <span class="number logit" title="logit">${decimal(each.logit)}</span>
        </li>`)}
    </ol>
    ${parts && html`<${Legend} series=${drawn} />`}`;
}

/** @param {{ label: string, logit: number, series: any[], bar: { start: number, end: number }[], range: { low: number, high: number } }} props */
function Bar({ label, logit, series, bar, range }) {
  const share = (/** @type {number} */ value) => (100 * (value - range.low)) / (range.high - range.low);
  const told = series.map(({ name, values }) => `${name} ${decimal(at(values, label))}`).join(", ");
  return html`
    <span class="shares" role="img" aria-label=${`logit ${decimal(logit)} of ${label}: ${told}`}>
      ${series.map(({ place, name, values }, at_) => {
        const [left, width] = [share(bar[at_].start), share(bar[at_].end) - share(bar[at_].start)];
        return width > 0 && html`
          <i class=${`share c${place}`} title=${`${name}: ${decimal(at(values, label), 3)}`} style=${{ left: `${left}%`, width: `${width}%` }}>${width > WIDE ? markOf(place) : ""}</i>`;
      })}
      <i class="zero" style=${{ left: `${share(0)}%` }}></i>
      <i class="total" style=${{ left: `${share(logit)}%` }}></i>
    </span>`;
}

/** @param {{ series: any[] }} props */
function Legend({ series }) {
  return html`
    <ul class="legend">
      ${series.map(({ key, place, name }) => html`<li key=${key}><i class=${`share c${place}`}>${markOf(place)}</i> <span class="cut" title=${name}>${name}</span></li>`)}
      <li class="quiet"><i class="total"></i> logit, the sum</li>
    </ul>`;
}

/**
 * The numbers of the bars, all components singly, and the proof that they add up.
 * @param {{ ranking: Ranked[], parts: Parts, nameOf: (id: string) => string }} props
 */
export function PartsTable({ ranking, parts, nameOf }) {
  const rows = [{ id: BASE, logits: parts.base }, ...parts.components];
  const sum = (/** @type {string} */ label) => rows.reduce((total, { logits }) => total + at(logits, label), 0);
  const apart = Math.max(0, ...ranking.map(({ label, logit }) => Math.abs(sum(label) - logit)));
  const line = (/** @type {string} */ name, /** @type {(each: Ranked) => number} */ value) => html`
    <tr><th scope="row">${name}</th>${ranking.map((each) => html`<td class="number" title=${value(each)}>${decimal(value(each), 4)}</td>`)}</tr>`;
  return html`
    <details>
      <summary>The same numbers as a table</summary>
      <div class="scroll" tabindex="0" role="region" aria-label="Contributions">
        <table>
          <thead><tr><th scope="col">Given by</th>${ranking.map(({ label }) => html`<th scope="col" class="number">${label}</th>`)}</tr></thead>
          <tbody>${rows.map(({ id, logits }) => line(nameOf(id), ({ label }) => at(logits, label)))}</tbody>
          <tfoot>${line("Sum", ({ label }) => sum(label))}${line("Logit of the answer", ({ logit }) => logit)}</tfoot>
        </table>
      </div>
      <p class="quiet">${apart ? `Sums and logits differ by ${apart.toExponential(0)} at most` : "Sums and logits are equal"}.</p>
    </details>`;
}

/** @param {string} key @param {Map<string, number>} places */
function placeOf(key, places) {
  return key === BASE ? -1 : key === OTHERS ? MAX_SINGLE : places.get(key) ?? 0;
}

/** The sign of a colour, for those who do not tell colours apart. @param {number} place */
function markOf(place) {
  return place < 0 ? "B" : place === MAX_SINGLE ? "+" : String(place + 1);
}
