/** Answers to one image by a model that changes under the hand: computed here where that is exact, else asked. */
import { at, leftOut, LINEAR_RULES, ranked, reweighted, summed } from "../algebra/logits.js";
import { OTHERS } from "../algebra/shares.js";
import { send } from "../api/client.js";
import { problemOf } from "../api/problems.js";
import { asProblem } from "../api/requests.js";
import { useCallback, useEffect, useMemo, useRef, useState } from "../ui.js";
import { asked, keyOf } from "./selection.js";

const REST = 350; // milliseconds without a change before the service is asked
const MAX_RANKED = 1000; // labels in an answer of the service
const MAX_KNOWN = 8; // answers of the service that are remembered

/** @typedef {import("./selection.js").Model} Model */
/** @typedef {import("../algebra/logits.js").Parts} Parts */
/** @typedef {{ image: Blob, model: Model, key: string, prediction: any, result: any }} Known  what the service answered last */
/**
 * @typedef {{ how: "asked" | "reweighted" | "left_out", ranking: import("../algebra/logits.js").Ranked[], parts: Parts | null,
 *   without: string | null, known: Known }} Shown
 */

/**
 * Return why the parts of an answer are not to be had, or "".
 * @param {Model} model @param {any} limits  of the service
 */
export function whyNoParts(model, limits) {
  if (model.rule === "discriminant") return "An answer by discriminant is no sum over components, so none has a share in it.";
  const most = limits.max_attributed_components;
  if (model.members.length > most) {
    return `The service takes an answer apart for up to ${most} components, and ${model.members.length} are chosen. Choose fewer to see what each gave.`;
  }
  return model.labels.length > MAX_RANKED ? `More than ${MAX_RANKED} labels are too many to take an answer apart.` : "";
}

/**
 * Answer an image by a model, now and after each change of the model.
 * @param {Blob | null} image @param {Model | null} model @param {boolean} hasParts
 * @returns {{ shown: Shown | null, isAsking: boolean, isOld: boolean, problem: import("../api/problems.js").Problem | null, ask: () => void, forget: () => void }}
 *   `isOld`: what is shown is the answer before the last change
 */
export function useAnswer(image, model, hasParts) {
  const [known, setKnown] = useState(/** @type {Known[]} */ ([]));
  const [problem, setProblem] = useState(/** @type {import("../api/problems.js").Problem | null} */ (null));
  const [turn, setTurn] = useState({ key: "", count: 0 });
  const last = useRef(/** @type {Shown | null} */ (null));
  const key = image && model?.members.some(({ weight }) => weight !== 0) ? `${keyOf(model)}${hasParts}` : "";
  const now = useMemo(
    () => (model && key ? bestAnswer(known.filter((each) => each.image === image), model, key) : null),
    [known, key, image]);
  const isWanted = key !== "" && (now === null || (turn.key === key && now.how !== "asked"));
  useEffect(() => {
    setProblem(null);
    if (!isWanted || !model || !image) return undefined;
    const controller = new AbortController();
    const timer = setTimeout(() => {
      askService(image, model, hasParts, controller.signal).then(
        (prediction) => setKnown((old) => [{ image, model, key, prediction, result: prediction.results[0] }, ...old].slice(0, MAX_KNOWN)),
        (error) => controller.signal.aborted || setProblem(asProblem(error)));
    }, known.some((each) => each.image === image) ? REST : 0);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [key, image, isWanted, turn]);
  if (last.current && last.current.known.image !== image) last.current = null;
  if (now) last.current = now;
  return {
    shown: now ?? last.current, problem, isAsking: isWanted && problem === null, isOld: now === null,
    ask: () => setTurn({ key, count: turn.count + 1 }),
    forget: useCallback(() => {
      last.current = null;
      setKnown([]);
    }, []),
  };
}

/** @param {Known[]} known @param {Model} model @param {string} key */
function bestAnswer(known, model, key) {
  const same = known.find((each) => each.key === key);
  if (same) return answerFrom(same, model, key);
  return known.reduce((found, each) => found ?? answerFrom(each, model, key), /** @type {Shown | null} */ (null));
}

/**
 * Return the answer that follows exactly from what the service told; null where nothing does.
 * @param {Known} known @param {Model} model @param {string} key @returns {Shown | null}
 */
function answerFrom(known, model, key) {
  const { prediction, result } = known;
  const temperature = prediction.calibration?.temperature ?? null;
  const same = { known, without: null };
  if (known.key === key) return { ...same, how: "asked", ranking: result.predictions, parts: partsOf(known, known.model.members) };
  if (model.space !== known.model.space) return null;
  if (LINEAR_RULES.includes(model.rule) && result.directions) {
    const parts = partsOf(known, model.members);
    return parts && { ...same, how: "reweighted", ranking: ranked(summed(parts), temperature), parts };
  }
  const without = model.rule === known.model.rule ? leftOut(known.model.members, model.members) : null;
  const rest = without && result.leave_one_out?.find((/** @type {any} */ each) => each.id === without)?.predictions;
  return rest ? { how: "left_out", ranking: rest, parts: restOf(known, rest), without, known } : null;
}

/**
 * Return base and all other components together, as which an answer without one component can be told.
 * @param {Known} known @param {import("../algebra/logits.js").Ranked[]} ranking @returns {Parts}
 */
function restOf({ result }, ranking) {
  const { base } = result.contributions;
  return {
    base: Object.fromEntries(ranking.map(({ label }) => [label, at(base, label)])),
    components: [{ id: OTHERS, logits: Object.fromEntries(ranking.map(({ label, logit }) => [label, logit - at(base, label)])) }],
  };
}

/** @param {Known} known @param {import("../algebra/logits.js").Member[]} members @returns {Parts | null} */
function partsOf({ prediction, result }, members) {
  if (!result.directions) return result.contributions ?? null;
  const labels = new Map(prediction.components.map((/** @type {any} */ each) => [each.id, each.labels]));
  return reweighted(result.directions, members, (id) => labels.get(id) ?? []);
}

/**
 * @param {Blob} image @param {Model} model @param {boolean} hasParts @param {AbortSignal} signal @returns {Promise<any>}
 * @throws {import("../api/problems.js").Problem}  the image's own as well
 */
async function askService(image, model, hasParts, signal) {
  const parts = LINEAR_RULES.includes(model.rule) ? ["directions"] : ["contributions", "leave_one_out"];
  const form = new FormData();
  form.append("images", image, "image");
  for (const [name, value] of Object.entries(asked(model))) {
    form.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  form.append("top_k", String(MAX_RANKED));
  form.append("return", ["logits", "probabilities", "novelty", ...(hasParts ? parts : [])].join(","));
  const prediction = await send("POST", "v1/predictions", { body: form, signal });
  const { error } = prediction.results[0];
  if (error) throw problemOf(error.status, JSON.stringify(error), null);
  return prediction;
}
