/** The whole story on sample data: upload, train, an answer with shares, a party taken out, a checked receipt. */
import { address, get, idempotencyKey, send, upload } from "../api/client.js";
import { asProblem } from "../api/requests.js";
import { Name } from "../parts/facts.js";
import { imageAddress } from "../parts/images.js";
import { Fault } from "../parts/states.js";
import { decimal, percent } from "../parts/texts.js";
import { href } from "../router.js";
import { html, signal } from "../ui.js";

/**
 * @typedef {import("../api/schema.js").components["schemas"]} Schemas
 * @typedef {{ id: string, name: string, component: string, labels: string[] }} Party
 * @typedef {{ isShown: boolean, step: number, note: string, problem: import("../api/problems.js").Problem | null, parties: Party[],
 *   composition: string, image: { dataset: string, id: string, label: string } | null, before: Schemas["PredictionOut"] | null,
 *   after: Schemas["PredictionOut"] | null, taken: Party | null, receipt: string, check: Schemas["VerificationOut"] | null }} State
 */

const STEPS = ["Five parties upload images of digits", "A component is trained from each", "All of them answer together", "One party is taken out", "The receipt is checked"];
const LABEL = "4"; // of the image that is asked about; the party that knows it is taken out
const LOOK_MS = 1000;

/** @type {State} */
const START = {
  isShown: false, step: -1, note: "", problem: null, parties: [], composition: "", image: null, before: null, after: null, taken: null, receipt: "", check: null,
};

/** Goes on while other views are shown. */
export const story = signal(START);

/** @param {Partial<State>} change */
function set(change) {
  story.value = { ...story.value, ...change };
}

async function play() {
  story.value = { ...START, isShown: true, step: 0 };
  try {
    await uploadParties();
    set({ step: 1, note: "" });
    await Promise.all(story.value.parties.map(trained));
    set({ step: 2, note: "", composition: await compose(story.value.parties) });
    set({ before: await ask(), step: 3 });
    const taken = /** @type {Party} */ (story.value.parties.find(({ labels }) => labels.includes(LABEL)));
    const receipt = await send("DELETE", `v1/datasets/${encodeURIComponent(taken.id)}`, { query: { cascade: true } });
    set({ taken, receipt: receipt.id, after: await ask(), step: 4 });
    set({ check: await send("POST", `v1/receipts/${encodeURIComponent(receipt.id)}/verify`), step: 5 });
  } catch (error) {
    set({ problem: asProblem(error) });
  }
}

async function uploadParties() {
  const samples = await get("page/samples");
  for (const [index, { file, name, labels, held_out: isHeldOut }] of samples.entries()) {
    set({ note: `${name} (${index + 1} of ${samples.length})` });
    const form = new FormData();
    form.append("name", name);
    if (!isHeldOut) form.append("train", "true");
    form.append("file", await (await fetch(address(`page/samples/${encodeURIComponent(file)}`))).blob(), file);
    const made = await upload("v1/datasets", form, { headers: { "Idempotency-Key": idempotencyKey() } });
    if (isHeldOut) {
      const { data } = await get(`v1/datasets/${encodeURIComponent(made.id)}/images`, { label: LABEL, limit: 1 });
      set({ image: { dataset: made.id, id: data[0].id, label: LABEL } });
    } else set({ parties: [...story.value.parties, { id: made.id, name, component: made.component.id, labels }] });
  }
}

/** Wait until a party's component is ready. @param {Party} party */
async function trained({ component }) {
  for (;;) {
    const { status, error, name } = await get(`v1/components/${encodeURIComponent(component)}`);
    if (status === "ready") return;
    if (status === "failed" || status === "cancelled") throw new Error(`${name}: ${error?.detail ?? "its training was cancelled"}`);
    set({ note: `${name}: ${status}` });
    await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
  }
}

/** Name the parties' components, by a name that is not taken. @param {Party[]} parties */
async function compose(parties) {
  const json = { rule: "joint", components: parties.map(({ component }) => ({ id: component })) };
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? "digits" : `digits-${number}`;
    try {
      await send("PUT", `v1/compositions/${name}`, { json, headers: { "If-None-Match": "*" } });
      return name;
    } catch (error) {
      if (asProblem(error).status !== 412) throw error;
    }
  }
}

/** @returns {Promise<Schemas["PredictionOut"]>} */
async function ask() {
  const { image, composition } = story.value;
  const form = new FormData();
  if (image) form.append("images", await (await fetch(imageAddress(image.dataset, image.id))).blob(), "digit.png");
  for (const [name, value] of Object.entries({ composition, top_k: "3", return: "logits,probabilities,contributions" })) form.append(name, value);
  return send("POST", "v1/predictions", { body: form });
}

export function Story() {
  const { step, note, problem, parties, image, before, after, taken, receipt, check, composition } = story.value;
  if (step < 0) {
    return html`
      <div class="panel">
        <p>Five parties have images of handwritten digits, two digits each. In about a minute you see them upload and train, answer together,
          and one of them leave, with a receipt that proves it. The data come with the service and can be deleted afterwards.</p>
        <button class="primary" onClick=${play}>Show the story on sample data</button>
        <p class="quiet">Or <a href=${href(["datasets", "upload"])}>upload images of your own</a>.</p>
      </div>`;
  }
  const names = Object.fromEntries(parties.map(({ component, name }) => [component, name]));
  return html`
    <ol class="story">
      ${STEPS.map((title, index) => html`
        <li class=${index < step ? "done" : index === step ? "now" : ""} aria-current=${index === step ? "step" : undefined}>
          <h2>${title} ${index < step && html`<span class="tag good">done</span>`}</h2>
          ${index === step && !problem && html`<p role="status">${note || "…"}</p><progress aria-label=${title}></progress>`}
          ${index === step && problem && html`<${Fault} problem=${problem} again=${play} />`}
          ${index === 0 && step > 0 && html`<p>By hand: <a href=${href(["datasets", "upload"])}>upload</a>, and <a href=${href(["datasets"])}>look at the images</a>.</p>`}
          ${index === 1 && step > 1 && html`<p>${parties.map(({ component, name }) => (taken?.component === component ? `${name} (gone) ` : html`<a href=${href(["components", component])}>${name}</a> `))}</p>`}
          ${index === 2 && before && image && html`<${Answer} answer=${before} image=${image} names=${names} />
            <p>By hand: <a href=${href(["compose"], { composition })}>compose, and move the weights</a>.</p>`}
          ${index === 3 && after && image && taken && html`
            <p>“${taken.name}” is deleted: its images, its component, and its share of every answer. Nobody else knows the ${image.label} now.</p>
            <${Answer} answer=${after} image=${image} names=${names} />
            <p>By hand: <a href=${href(["unlearn"])}>find and delete data</a>.</p>`}
          ${index === 4 && check && html`<${Checked} check=${check} receipt=${receipt} />`}
        </li>`)}
    </ol>`;
}

/** @param {{ answer: Schemas["PredictionOut"], image: NonNullable<State["image"]>, names: Record<string, string> }} props */
function Answer({ answer, image, names }) {
  const result = answer.results[0], best = result.predictions?.[0];
  if (!best) return html`<p>${result.error?.detail ?? "There is no answer."}</p>`;
  const shares = (result.contributions?.components ?? []).map(({ id, logits }) => ({ name: names[id] ?? id, share: logits[best.label] ?? 0 }));
  const base = result.contributions?.base[best.label] ?? 0;
  const most = Math.max(1e-9, ...shares.map(({ share }) => Math.abs(share)));
  return html`
    <div class="party-shares">
      <img src=${imageAddress(image.dataset, image.id, 96)} alt=${`a handwritten ${image.label}`} width="96" height="96" />
      <div>
        <p>The answer is <strong class="large">${best.label}</strong>${best.probability != null && ` with probability ${percent(best.probability)}${answer.calibration?.temperature == null ? " (not calibrated)" : ""}`}.
          What each party gave to it:</p>
        <ul class="counts">${shares.map(({ name, share }) => html`
          <li><span class="cut"><${Name} text=${name} /></span><span class="number">${share < 0 ? "−" : "+"}${Math.abs(share).toFixed(3)}</span>
            <span class="gauge" aria-hidden="true"><span class=${share < 0 ? "against" : ""} style=${{ width: `${(100 * Math.abs(share)) / most}%` }}></span></span></li>`)}</ul>
        <p class="quiet">With ${decimal(base, 3)} of the network itself, these add up to the label’s score (logit) of ${decimal(best.logit ?? 0, 3)}. Shown to three places.</p>
      </div>
    </div>`;
}

/** @param {{ check: Schemas["VerificationOut"], receipt: string }} props */
function Checked({ check, receipt }) {
  return html`
    <p><span class=${`tag ${check.ok ? "good" : "bad"}`}>${check.ok ? "holds" : "does not hold"}</span>
      ${check.chain_ok ? " The chain of receipts is whole." : " The chain of receipts is broken."}
      ${check.residue.length === 0 ? " Nothing names the deleted data any more." : " Something still names the deleted data."}</p>
    <p><a class="button" href=${href(["receipts", receipt])}>Read the receipt and check it in your browser</a></p>
    <button onClick=${() => set({ isShown: false })}>Close the story, and go on with what is left</button>`;
}
