/** One evaluation against another of the same dataset: their numbers, and the images whose answer changed. */
import { Choice } from "../parts/inputs.js";
import { Fault, Loading } from "../parts/states.js";
import { decimal, percent } from "../parts/texts.js";
import { href } from "../router.js";
import { html, useState } from "../ui.js";
import { AnsweredImages, CHANGES, Files, Summary, useEvaluation } from "./result.js";

/** @param {{ id: string, against: string }} props  `against`: the baseline */
export function Comparison({ id, against }) {
  const [now, before] = [useEvaluation(id), useEvaluation(against)];
  const [change, setChange] = useState("");
  const problem = now.problem ?? before.problem;
  if (problem) return html`<${Fault} problem=${problem} again=${now.problem ? now.reload : before.reload} />`;
  if (!now.data || !before.data) return html`<${Loading} />`;
  const isReady = now.data.status === "ready" && before.data.status === "ready";
  const isSame = now.data.dataset_id === before.data.dataset_id && now.data.split === before.data.split;
  return html`
    <div class="split">
      <section aria-label="Baseline"><h2><a href=${href(["evaluate", against])}>Baseline</a></h2><${Summary} evaluation=${before.data} onChanged=${before.reload} /></section>
      <section aria-label="Candidate"><h2><a href=${href(["evaluate", id])}>Candidate</a></h2><${Summary} evaluation=${now.data} onChanged=${now.reload} /></section>
    </div>
    ${!isSame && html`<p class="notice">They are of different images, so their numbers do not tell which selection is better.</p>`}
    ${isReady && html`
      <${Numbers} before=${before.data} now=${now.data} />
      <h2>Images whose answer changed</h2>
      <div class="bar"><${Choice} label="Change" none="any" value=${change} options=${Object.entries(CHANGES).map(([name, told]) => [name, `${name}: ${told}`])} onChoice=${setChange} /></div>
      <${Files} evaluation=${now.data} against=${against} />
      <${AnsweredImages} evaluation=${now.data} filter=${{ compared_to: against, change }} empty="Both give the same answers." />`}`;
}

const NUMBERS = ["Accuracy", "Calibration error", "Log loss"];

/** @param {{ before: any, now: any }} props */
function Numbers({ before, now }) {
  const numbers = [before, now].map(({ accuracy, probabilities }) => [
    accuracy, probabilities?.expected_calibration_error, probabilities?.negative_log_likelihood]);
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Numbers"><table>
      <thead><tr><th scope="col">Number</th><th scope="col" class="number">Baseline</th><th scope="col" class="number">Candidate</th><th scope="col">Which is better</th></tr></thead>
      <tbody>${NUMBERS.map((name, at) => html`
        <tr><th scope="row">${name}</th>${numbers.map((each) => html`<td class="number">${at < 2 ? percent(each[at]) : decimal(each[at], 3)}</td>`)}
          <td>${betterOf(numbers[0][at], numbers[1][at], at === 0)}</td></tr>`)}</tbody>
    </table></div>`;
}

/** @param {number | null | undefined} before @param {number | null | undefined} now @param {boolean} isMoreBetter */
function betterOf(before, now, isMoreBetter) {
  if (typeof before !== "number" || typeof now !== "number") return "–";
  return before === now ? "equal" : now > before === isMoreBetter ? "candidate" : "baseline";
}
