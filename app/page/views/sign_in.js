/** The form for a key, on a service that asks for one. */
import { signIn } from "../api/session.js";
import { asProblem } from "../api/requests.js";
import { Fault } from "../parts/states.js";
import { html, useState } from "../ui.js";

export function SignIn() {
  const [problem, setProblem] = useState(/** @type {import("../api/problems.js").Problem | null} */ (null));
  const [isBusy, setIsBusy] = useState(false);
  /** @param {SubmitEvent} event */
  const give = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    setIsBusy(true);
    setProblem(null);
    try {
      await signIn(String(new FormData(form).get("key")).trim());
    } catch (error) {
      setProblem(asProblem(error));
      setIsBusy(false);
    }
  };
  return html`
    <section class="narrow">
      <h1>Sign in</h1>
      <p>This service needs a key. The browser keeps no key: it gets a cookie that scripts cannot read.</p>
      <form onSubmit=${give}>
        <label>Key <input name="key" type="password" autocomplete="current-password" required autofocus /></label>
        <button class="primary" disabled=${isBusy}>Sign in</button>
      </form>
      ${problem && html`<${Fault} problem=${problem} />`}
    </section>`;
}
