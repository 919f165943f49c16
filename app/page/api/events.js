/** Events of a training as they happen, by server-sent events; the browser resumes after an interruption. */
import { useEffect } from "../ui.js";
import { address } from "./client.js";

/** Statuses after which nothing more comes: a browser would ask again for ever. */
const ENDS = /"status":"(ready|failed|cancelled)"/;
const TYPES = ["status", "progress", "deleted"];

/**
 * Call `onEvent` for each event of a component while the view is drawn.
 * @param {string | null} componentId  null: nothing is read
 * @param {(event: { type: string, data: any }) => void} onEvent  must not change from drawing to drawing
 * @param {number} [after]  id of the last event that is known already
 */
export function useEvents(componentId, onEvent, after = 0) {
  useEffect(() => {
    if (componentId === null) return undefined;
    const source = new EventSource(address(`v1/components/${encodeURIComponent(componentId)}/events`, { after }));
    /** @param {MessageEvent} message */
    const told = (message) => {
      onEvent({ type: message.type, data: JSON.parse(message.data) });
      if (ENDS.test(message.data) || message.type === "deleted") source.close();
    };
    for (const type of TYPES) source.addEventListener(type, /** @type {EventListener} */ (told));
    return () => source.close();
  }, [componentId, onEvent, after]);
}
