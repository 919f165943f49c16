/** The page: its head with the ways, and the view of the place that the address names. */
import { needsKey, readSession, session, signOut } from "./api/session.js";
import { base } from "./api/base.js";
import { Problem } from "./api/problems.js";
import { Fault, Loading } from "./parts/states.js";
import { href, place } from "./router.js";
import { html, render, useEffect, useState } from "./ui.js";
import { SignIn } from "./views/sign_in.js";

/** Views by the first part of the path; each is loaded when it is first shown. @type {Record<string, View>} */
const VIEWS = {
  "": { title: "Start", load: () => import("./views/start.js") },
  spaces: { title: "Spaces", load: () => import("./views/spaces.js") },
  datasets: { title: "Datasets", load: () => import("./views/datasets.js") },
  components: { title: "Components", load: () => import("./views/components.js") },
  compositions: { title: "Compositions", load: () => import("./views/compositions.js") },
  compose: { title: "Compose", load: () => import("./views/compose.js") },
  evaluate: { title: "Evaluate", load: () => import("./views/evaluate.js") },
  unlearn: { title: "Unlearn", load: () => import("./views/unlearn.js") },
  receipts: { title: "Receipts", load: () => import("./views/receipts.js") },
};

/** @typedef {(props: { path: string[], query: URLSearchParams }) => any} ViewFunction */
/** @typedef {{ title: string, load: () => Promise<{ View: ViewFunction }> }} View */

function Page() {
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  useEffect(() => {
    readSession().then(() => setProblem(null), setProblem);
  }, []);
  if (problem) return html`<main><${Fault} problem=${problem} again=${() => readSession().then(() => setProblem(null), setProblem)} /></main>`;
  if (session.value === null) return html`<main><${Loading} /></main>`;
  return html`
    <a class="skip" href="#main" onClick=${toMain}>Skip to the content</a>
    <${Head} />
    <main id="main" tabindex="-1">${needsKey() ? html`<${SignIn} />` : html`<${Shown} />`}</main>
    <footer class="quiet">
      <a href=${new URL("docs", base).href}>API</a> · <a href=${new URL("redoc", base).href}>reference</a>
    </footer>`;
}

/** The hash names places, so the link to the content moves the focus by itself. @param {Event} event */
function toMain(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Head() {
  const shown = place.value.path[0] ?? "";
  return html`
    <header>
      <a class="brand" href=${href([])}><img src="./page/icon.svg" alt="" width="28" height="28" /> Tangent Composer</a>
      <nav aria-label="Views">
        ${Object.entries(VIEWS).map(([name, view]) => html`
          <a href=${href(name ? [name] : [])} aria-current=${name === shown ? "page" : undefined}>${view.title}</a>`)}
      </nav>
      ${session.value?.authenticated && html`
        <span class="who">${session.value.key?.name} <button class="link" onClick=${signOut}>Sign out</button></span>`}
    </header>`;
}

/** The view of the place; a view that fails tells so in its place and leaves the head usable. */
function Shown() {
  const name = place.value.path[0] ?? "";
  const [loaded, setLoaded] = useState(/** @type {{ name: string, View: ViewFunction | null, problem: Problem | null }} */ (
    { name: "", View: null, problem: null }));
  useEffect(() => {
    const view = VIEWS[name];
    document.title = `${view?.title ?? "Not found"} – Tangent Composer`;
    if (!view) {
      setLoaded({ name, View: null, problem: new Problem(404, "not_found", "this page has no such place") });
      return undefined;
    }
    let isLeft = false; // for another view, which may be loaded before this one
    view.load().then(
      (module) => isLeft || setLoaded({ name, View: module.View, problem: null }),
      (error) => isLeft || setLoaded({ name, View: null, problem: new Problem(0, "page_error", String(error.message)) }),
    );
    return () => { isLeft = true; };
  }, [name]);
  if (loaded.problem && loaded.name === name) return html`<${Fault} problem=${loaded.problem} />`;
  if (loaded.View === null || loaded.name !== name) return html`<${Loading} />`;
  return html`<${loaded.View} path=${place.value.path.slice(1)} query=${place.value.query} />`;
}

const root = document.getElementById("page");
if (root) {
  root.textContent = "";
  render(html`<${Page} />`, root);
}
