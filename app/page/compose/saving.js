/** A selection under a name: save it, and settle that the name is taken or was changed meanwhile. */
import { get, send } from "../api/client.js";
import { asProblem, useAction } from "../api/requests.js";
import { submitted, typed } from "../parts/inputs.js";
import { Fault } from "../parts/states.js";
import { moment } from "../parts/texts.js";
import { html, useState } from "../ui.js";

/**
 * @param {{ model: import("./selection.js").Model, opened: any, onSaved: (stored: any) => void }} props  `opened`: the stored composition that it began from
 */
export function Saving({ model, opened, onSaved }) {
  const [name, setName] = useState(opened?.name ?? "");
  const [taken, setTaken] = useState(/** @type {any} */ (null));
  const [told, setTold] = useState("");
  const { run, problem } = useAction();
  const save = (/** @type {Record<string, string>} */ condition) => run(async () => {
    setTaken(null);
    setTold("");
    const path = `v1/compositions/${encodeURIComponent(name)}`;
    try {
      const stored = await send("PUT", path, { json: bodyOf(model), headers: condition });
      setTold(`Saved as ${stored.name}.`);
      onSaved(stored);
    } catch (error) {
      if (asProblem(error).code !== "composition_changed") throw error;
      setTaken(await get(path));
    }
  });
  return html`
    <form onSubmit=${submitted(() => save(name === opened?.name ? { "If-Match": `"${opened.etag}"` } : { "If-None-Match": "*" }))}>
      <label>Name of the composition
        <input required maxlength="64" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" title="letters, digits, and . _ - after the first" value=${name}
          onInput=${typed(setName)} /></label>
      <button disabled=${model.members.length === 0}>Save as composition</button>
      <span role="status">${told}</span>
    </form>
    ${taken && html`
      <div class="fault" role="alert">
        <p><strong>${name === opened?.name ? `${name} was changed since you opened it` : `There is a composition ${name} already`}</strong>:
          rule ${taken.rule}, ${taken.components === "all" ? "all components" : `${taken.components.length} components`}, of ${moment(taken.updated_at)}.</p>
        <div class="bar"><button class="danger" onClick=${() => save({ "If-Match": `"${taken.etag}"` })}>Replace it</button>
          <button onClick=${() => setTaken(null)}>Choose another name</button></div>
      </div>`}
    ${problem && html`<${Fault} problem=${problem} />`}`;
}

/** @param {import("./selection.js").Model} model */
function bodyOf({ selection, space, rule, members }) {
  const listed = rule === "average" ? members.map(({ id }) => ({ id })) : members;
  return { space, rule, components: selection.all && rule !== "weighted" ? "all" : listed };
}
