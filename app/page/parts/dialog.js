/** Dialogs: native ones, which hold the focus and give it back; nothing is deleted without one. */
import { send } from "../api/client.js";
import { useAction } from "../api/requests.js";
import { html, useId, useLayoutEffect, useRef, useState } from "../ui.js";
import { submitted } from "./inputs.js";
import { Fault } from "./states.js";

/** @param {{ title: any, onClose: () => void, children?: any }} props */
export function Dialog({ title, onClose, children }) {
  const box = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useLayoutEffect(() => {  // open as soon as it is drawn: what is typed from then on is for it
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    box.current?.showModal();
    return () => before?.focus();
  }, []);
  return html`
    <dialog ref=${box} aria-labelledby=${id} onClose=${onClose}>
      <h2 id=${id}>${title}</h2>${children}
    </dialog>`;
}

/**
 * A question, and the one thing that its form does; it stays open with the problem if that fails.
 * @param {{ title: any, action: string, onClose: () => void, perform: (form: FormData) => Promise<any>, isDanger?: boolean,
 *   isDisabled?: boolean, onDone?: () => void, children?: any }} props  `onDone`: in place of onClose, once it is done
 */
export function Ask({ title, action, onClose, perform, isDanger, isDisabled, onDone = onClose, children }) {
  const { isBusy, problem, run } = useAction();
  const submit = submitted((form) => run(async () => { await perform(form); onDone(); }));
  return html`
    <${Dialog} title=${title} onClose=${onClose}>
      <form class="column" onSubmit=${submit}>
        ${children}
        ${problem && html`<${Fault} problem=${problem} />`}
        <div class="bar">
          <button class=${isDanger ? "danger" : "primary"} disabled=${isBusy || isDisabled}>${isBusy ? "Wait …" : action}</button>
          <button type="button" onClick=${onClose}>Cancel</button>
        </div>
      </form>
    <//>`;
}

/** @param {{ path: string, name: string, onDone: () => void }} props */
export function Rename({ path, name, onDone }) {
  const [isOpen, setIsOpen] = useState(false);
  /** @param {FormData} form */
  const perform = async (form) => {
    await send("PATCH", path, { json: { name: String(form.get("name")) } });
    onDone();
  };
  return html`
    <button onClick=${() => setIsOpen(true)}>Rename</button>
    ${isOpen && html`
      <${Ask} title="Rename" action="Rename" onClose=${() => setIsOpen(false)} perform=${perform}>
        <label>New name <input name="name" defaultValue=${name} required maxlength="200" /></label>
      <//>`}`;
}
