/** Inputs: a list to choose from, and what was typed. */
import { html } from "../ui.js";

/**
 * A labelled list to choose one of.
 * @param {{ label: string, value?: string, options: (string | [value: string, text: string])[], onChoice: (value: string) => void, none?: string }} props
 *   `none`: the words for "", which comes first
 */
export function Choice({ label, value, options, onChoice, none }) {
  const pairs = options.map((each) => (typeof each === "string" ? [each, each] : each));
  return html`
    <label>${label} <select value=${value ?? ""} onChange=${typed(onChoice)}>
      ${none !== undefined && html`<option value="">${none}</option>`}
      ${pairs.map(([key, text]) => html`<option key=${key} value=${key}>${text}</option>`)}</select></label>`;
}

/** Give a text as it is typed. @param {(value: string) => void} give @returns {(event: any) => void} */
export function typed(give) {
  return (event) => give(event.currentTarget.value);
}

/** Give a number as it is typed; null for none. @param {(value: number | null) => void} give @returns {(event: any) => void} */
export function typedNumber(give) {
  return ({ currentTarget: { valueAsNumber: value } }) => give(Number.isFinite(value) ? value : null);
}

/** Give the fields of a form in place of sending it. @param {(form: FormData) => any} give @returns {(event: any) => void} */
export function submitted(give) {
  return (event) => {
    event.preventDefault();
    give(new FormData(event.currentTarget));
  };
}
