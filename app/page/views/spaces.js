/** Spaces as a table, one of them with what it depends on, and the form for a new one. */
import { address, idempotencyKey, send } from "../api/client.js";
import { useRead } from "../api/requests.js";
import { Ask } from "../parts/dialog.js";
import { Facts, Name, Tag } from "../parts/facts.js";
import { Listing } from "../parts/listing.js";
import { Fault, Loading } from "../parts/states.js";
import { moment, short } from "../parts/texts.js";
import { go, href } from "../router.js";
import { html, useMemo, useState } from "../ui.js";

/** @typedef {import("../api/schema.js").components["schemas"]["SpaceOut"]} Space */

/** @type {import("../parts/table.js").Column<Space>[]} */
const COLUMNS = [
  { title: "Name", width: "minmax(8rem, 1.5fr)", cell: (row) => html`<a href=${href(["spaces", row.name])}><${Name} text=${row.name} /></a>` },
  { title: "Status", width: "8rem", cell: (row) => html`<${Tag} status=${row.status} />` },
  { title: "Backbone", width: "minmax(8rem, 1.5fr)", cell: (row) => html`<${Name} text=${row.backbone} />` },
  { title: "Scope", width: "8rem", cell: (row) => row.scope },
  { title: "Labels", width: "5rem", isNumber: true, cell: (row) => row.labels.length },
  { title: "Made", width: "13rem", cell: (row) => moment(row.created_at) },
];

/** What the number formats of answers mean. @type {Record<NonNullable<Space["precision"]>, string>} */
const PRECISIONS = {
  float32: "answers are computed as trainings are",
  bfloat16: "answers are computed by a copy of the network, rounded to 8 significant bits; trainings are not rounded",
  float16: "answers are computed by a copy of the network, rounded to 11 significant bits; trainings are not rounded",
};

/** @param {{ path: string[] }} props */
export function View({ path }) {
  const [isMaking, setIsMaking] = useState(false);
  if (path[0]) return html`<${One} key=${path[0]} name=${path[0]} />`;
  return html`
    <h1>Spaces</h1>
    <p>A space is a pre-trained network at fixed weights. Components of one space can be composed; those of two cannot.</p>
    <div class="bar"><button class="primary" onClick=${() => setIsMaking(true)}>Make a space …</button></div>
    <${Listing} noun="space" path="v1/spaces" columns=${COLUMNS} keyOf=${(/** @type {Space} */ row) => row.name} />
    ${isMaking && html`<${Make} onClose=${() => setIsMaking(false)} />`}`;
}

/** @param {{ onClose: () => void }} props */
function Make({ onClose }) {
  const key = useMemo(idempotencyKey, []);
  /** @param {FormData} form */
  const perform = async (form) => {
    const told = Object.fromEntries([...form].map(([name, value]) => [name, String(value).trim()]));
    const labels = told.labels.split("\n").map((each) => each.trim()).filter(Boolean);
    const made = await send("POST", "v1/spaces", { json: { ...told, labels }, headers: { "Idempotency-Key": key } });
    go(["spaces", made.name]);
  };
  return html`
    <${Ask} title="Make a space" action="Make the space" onClose=${onClose} perform=${perform} onDone=${() => undefined}>
      <label>Name <input name="name" required maxlength="64" /></label>
      <label>Backbone <input name="backbone" required maxlength="255" value="resnet_micro_32" /><span class="quiet">a shipped name, a timm name, or a file of the server's</span></label>
      <label>Scope <select name="scope">${["head2toe", "head", "last-block", "all"].map((each) => html`<option>${each}</option>`)}</select></label>
      <label>Labels that every component learns to tell its own from, one a line (none is right for most) <textarea name="labels" rows="3"></textarea></label>
    <//>`;
}

/** @param {{ name: string }} props */
function One({ name }) {
  const path = `v1/spaces/${encodeURIComponent(name)}`;
  const { data, problem, reload } = useRead(path);
  const [isDeleting, setIsDeleting] = useState(false);
  if (problem) return html`<h1>Space</h1><${Fault} problem=${problem} again=${reload} />`;
  if (!data) return html`<${Loading} />`;
  /** @type {Space} */
  const space = data;
  return html`
    <p class="quiet"><a href=${href(["spaces"])}>Spaces</a></p>
    <h1><${Name} text=${space.name} /> <${Tag} status=${space.status} /></h1>
    ${space.unavailable && html`<div class="fault" role="alert"><p><strong>It does not answer.</strong> ${space.unavailable.reason}</p><p class="quiet">${space.unavailable.code}</p></div>`}
    <div class="bar">
      <a class="button" href=${href(["components"], { space: name })}>Its components</a>
      <a class="button" href=${href(["compositions"], { space: name })}>Its compositions</a>
      <a class="button" href=${address(`${path}/card`).href} download>Download its card</a>
      ${name !== "default" && html`<button class="danger" onClick=${() => setIsDeleting(true)}>Delete …</button>`}
    </div>
    <${Facts} rows=${[
      ["Backbone", html`<${Name} text=${space.backbone} />`], ["Scope", space.scope], ["Rule without a choice", space.default_rule],
      ["Image size", `${space.image_size} × ${space.image_size} pixels`],
      ["Parameters", `${space.parameters.total.toLocaleString("en")}; a component of one label has ${space.parameters.tangent.toLocaleString("en")}`],
      ["Engine", `${space.engine.name}: ${space.engine.reason}`], ["Licence of the weights", space.license],
      ["Precision", space.precision ? `${space.precision}: ${PRECISIONS[space.precision]}` : "not known until the space is opened"],
      ["Shared", space.shared ? "with other keys" : "no"], ["Made", moment(space.created_at)],
      ["Fingerprint", html`<code title=${space.fingerprint}>${short(space.fingerprint)}</code>`],
    ]} />
    <h2>Labels</h2>
    ${space.labels.length > 0 ? html`<ul class="words" tabindex="0" aria-label="labels">${space.labels.map((label) => html`<li><${Name} text=${label} />${space.declared_labels.includes(label) ? html` <span class="quiet">declared</span>` : ""}</li>`)}</ul>`
      : html`<p>None yet: labels come with components.</p>`}
    ${isDeleting && html`<${Delete} path=${path} name=${name} onClose=${() => setIsDeleting(false)} />`}`;
}

/** @param {{ path: string, name: string, onClose: () => void }} props */
function Delete({ path, name, onClose }) {
  /** @param {FormData} form */
  const perform = async (form) => {
    const receipt = await send("DELETE", path, { query: { cascade: form.get("cascade") !== null } });
    go(["receipts", receipt.id]);
  };
  return html`
    <${Ask} title="Delete this space?" action="Delete the space" isDanger onClose=${onClose} perform=${perform} onDone=${() => undefined}>
      <p><${Name} text=${name} /> goes with its receipt to prove it. The datasets stay.</p>
      <label class="inline"><input type="checkbox" name="cascade" /> delete its components and compositions too</label>
    <//>`;
}
