/** A place for one file: choose it, drop it, or paste it. */
import { html, useEffect, useState } from "../ui.js";

/**
 * @param {{ label: string, hint: any, accept: string, onFile: (file: File) => void, isPasted?: boolean }} props
 *   a drop or a paste may bring any file: `onFile` judges it
 */
export function FileDrop({ label, hint, accept, onFile, isPasted = true }) {
  const [isOver, setIsOver] = useState(false);
  useEffect(() => {
    if (!isPasted) return undefined;
    /** @param {ClipboardEvent} event */
    const paste = (event) => {
      const file = event.clipboardData?.files[0];
      if (file) onFile(file);
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, [onFile, isPasted]);
  /** @param {DragEvent} event */
  const drop = (event) => {
    event.preventDefault();
    setIsOver(false);
    const file = event.dataTransfer?.files[0];
    if (file) onFile(file);
  };
  /** @param {DragEvent} event */
  const over = (event) => {
    event.preventDefault(); // else the browser would open the file
    setIsOver(true);
  };
  /** @param {Event} event */
  const choose = (event) => {
    const input = /** @type {HTMLInputElement} */ (event.currentTarget);
    const file = input.files?.[0];
    input.value = ""; // so that the same file can be chosen again
    if (file) onFile(file);
  };
  return html`
    <div class=${`drop ${isOver ? "over" : ""}`} onDrop=${drop} onDragOver=${over} onDragLeave=${() => setIsOver(false)}>
      <label>${label} <input type="file" accept=${accept} onChange=${choose} /></label>
      <p class="quiet">${hint}</p>
    </div>`;
}
