/** Requests of a view: what was read, what is wrong with it, and how to read it again. */
import { useCallback, useEffect, useState } from "../ui.js";
import { get } from "./client.js";
import { Problem } from "./problems.js";

/** @typedef {{ data: any, problem: Problem | null, isLoading: boolean, reload: () => void }} Read */

/**
 * Read a path when the view is drawn, and again when it changes; null reads nothing.
 * @param {string | null} path @param {import("./client.js").Query} [query]
 * @param {number} [everySeconds]  reads again so often while the view is seen
 * @returns {Read}
 */
export function useRead(path, query, everySeconds) {
  const [state, setState] = useState(/** @type {{ data: any, problem: Problem | null, isLoading: boolean }} */ (
    { data: null, problem: null, isLoading: path !== null }));
  const [turn, setTurn] = useState(0);
  const asked = JSON.stringify(query ?? {});
  useEffect(() => setState({ data: null, problem: null, isLoading: path !== null }), [path, asked]);
  useEffect(() => {
    if (path === null) return undefined;
    const controller = new AbortController();
    get(path, JSON.parse(asked), controller.signal).then(
      (data) => setState({ data, problem: null, isLoading: false }),
      (problem) => {
        if (!controller.signal.aborted) setState((old) => ({ ...old, problem: asProblem(problem), isLoading: false }));
      },
    );
    return () => controller.abort();
  }, [path, asked, turn]);
  useEffect(() => {
    if (!everySeconds) return undefined;
    const timer = setInterval(() => document.hidden || setTurn((old) => old + 1), 1000 * everySeconds);
    return () => clearInterval(timer);
  }, [everySeconds]);
  return { ...state, reload: useCallback(() => setTurn((old) => old + 1), []) };
}

/**
 * Read a list page by page: `rows` so far, `more()` for the next page.
 * @param {string} path @param {import("./client.js").Query} [query] @param {number} [limit]
 */
export function useRows(path, query, limit = 100) {
  const [state, setState] = useState(/** @type {RowsState} */ (start()));
  const asked = JSON.stringify(query ?? {});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const controller = new AbortController();
    setState((old) => ({ ...start(), rows: turn ? old.rows : [] }));
    readPage(path, { ...JSON.parse(asked), limit }, controller.signal, (page) => setState({ ...page, isLoading: false }),
      (problem) => setState((old) => ({ ...old, problem, isLoading: false })));
    return () => controller.abort();
  }, [path, asked, turn, limit]);
  const more = useCallback(() => {
    setState((old) => {
      if (old.isLoading || old.next === null) return old;
      readPage(path, { ...JSON.parse(asked), limit, after: old.next }, undefined,
        (page) => setState((now) => now.next === old.next
          ? { ...page, rows: [...now.rows, ...page.rows], isLoading: false } : now),
        (problem) => setState((now) => ({ ...now, problem, isLoading: false })));
      return { ...old, isLoading: true };
    });
  }, [path, asked, limit]);
  return { ...state, more, reload: useCallback(() => setTurn((old) => old + 1), []) };
}

/**
 * Read all pages of a list; null reads nothing. Rows that were read stay until a new reading is complete.
 * @param {string | null} path @param {import("./client.js").Query} [query]
 */
export function useAll(path, query) {
  const asked = JSON.stringify([path, query ?? {}]);
  const [state, setState] = useState({ asked: "", rows: /** @type {any[]} */ ([]), isComplete: false, problem: /** @type {Problem | null} */ (null) });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (path === null) return undefined;
    const controller = new AbortController();
    setState((old) => (old.asked === asked ? { ...old, problem: null } : { asked, rows: [], isComplete: false, problem: null }));
    (async () => {
      /** @type {any[]} */
      let rows = [];
      for await (const page of pagesOf(path, query, controller.signal)) {
        rows = [...rows, ...page];
        setState((old) => (old.isComplete ? old : { ...old, rows }));
      }
      setState({ asked, rows, isComplete: true, problem: null });
    })().catch((problem) => controller.signal.aborted || setState((old) => ({ ...old, problem: asProblem(problem) })));
    return () => controller.abort();
  }, [asked, turn]);
  const isCurrent = state.asked === asked;
  return {
    rows: isCurrent ? state.rows : NONE, isComplete: isCurrent && state.isComplete, problem: state.problem,
    reload: useCallback(() => setTurn((old) => old + 1), []),
  };
}

/** @type {any[]} */
const NONE = [];

/**
 * Yield the rows of each page of a list.
 * @param {string} path @param {import("./client.js").Query} [query] @param {AbortSignal} [signal] @returns {AsyncGenerator<any[]>}
 */
export async function* pagesOf(path, query, signal) {
  for (let after = /** @type {string | undefined} */ (undefined); ;) {
    const page = await get(path, { ...query, limit: 100, after }, signal);
    yield page.data;
    if (!page.has_more) return;
    after = page.next;
  }
}

/** @typedef {{ rows: any[], next: string | null, problem: Problem | null, isLoading: boolean }} RowsState */

/** @returns {RowsState} */
function start() {
  return { rows: [], next: null, problem: null, isLoading: true };
}

/**
 * @param {string} path @param {import("./client.js").Query} query @param {AbortSignal | undefined} signal
 * @param {(page: RowsState) => void} found @param {(problem: Problem) => void} failed
 */
function readPage(path, query, signal, found, failed) {
  get(path, query, signal).then(
    (page) => found({ rows: page.data, next: page.has_more ? page.next : null, problem: null, isLoading: false }),
    (problem) => signal?.aborted || failed(asProblem(problem)),
  );
}

/** Do one thing at a time: `run` shows what fails as `problem`, and returns undefined then. */
export function useAction() {
  const [state, setState] = useState({ isBusy: false, problem: /** @type {Problem | null} */ (null) });
  const run = useCallback(async (/** @type {() => Promise<any>} */ action) => {
    setState({ isBusy: true, problem: null });
    try {
      const done = await action();
      setState({ isBusy: false, problem: null });
      return done;
    } catch (error) {
      setState({ isBusy: false, problem: asProblem(error) });
      return undefined;
    }
  }, []);
  return { ...state, run };
}

/** @param {any} error @returns {Problem} */
export function asProblem(error) {
  return error instanceof Problem ? error : new Problem(0, "page_error", String(error?.message ?? error));
}
