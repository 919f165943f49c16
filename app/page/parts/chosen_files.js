/** What someone chose or dropped to upload: one archive, or a folder with all that is in it. */

const ARCHIVE = /\.(zip|tar|tar\.gz|tgz|tar\.zst)$/i;

/** @typedef {{ name: string, archive?: File, files?: { path: string, file: File }[], bytes: number, isCut?: boolean }} Chosen */

/** Files of an `<input>`, of a folder if `webkitdirectory` is set. @param {FileList | File[]} list @param {number} most @returns {Chosen} */
export function chosenOf(list, most) {
  const files = [...list];
  if (files.length === 1 && ARCHIVE.test(files[0].name)) return archiveOf(files[0]);
  const found = files.slice(0, most).map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  return folderOf(found, files.length > most);
}

/** Files of a drop: folders are walked, up to `most` files. @param {DataTransfer} dropped @param {number} most @returns {Promise<Chosen>} */
export async function chosenOfDrop(dropped, most) {
  const entries = [...dropped.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.every((entry) => entry.isFile)) return chosenOf(dropped.files, most);
  /** @type {{ path: string, file: File }[]} */
  const found = [];
  const waiting = entries;
  while (waiting.length > 0 && found.length <= most) {
    const entry = /** @type {FileSystemEntry} */ (waiting.shift());
    if (entry.isDirectory) waiting.push(...(await childrenOf(/** @type {FileSystemDirectoryEntry} */ (entry), most)));
    else found.push({ path: entry.fullPath.replace(/^\//, ""), file: await fileOf(/** @type {FileSystemFileEntry} */ (entry)) });
  }
  return folderOf(found.slice(0, most), found.length > most);
}

/** Why this cannot be uploaded, or null. @param {Chosen} chosen @param {import("../api/schema.js").components["schemas"]["Limits"]} limits */
export function obstacle(chosen, limits) {
  if (chosen.isCut) return `These are more than ${limits.max_archive_entries.toLocaleString("en")} files, the most of one upload: upload parts of the folder as several datasets.`;
  if (chosen.bytes > limits.max_upload_bytes) return "This is larger than one upload may be: upload parts of it as several datasets.";
  if (chosen.files && !chosen.files.some(({ path }) => path.includes("/"))) return "Choose an archive or a folder: the folder of an image is its label.";
  return null;
}

/** @param {File} archive @returns {Chosen} */
function archiveOf(archive) {
  return { name: archive.name, archive, bytes: archive.size };
}

/** @param {{ path: string, file: File }[]} files @param {boolean} isCut @returns {Chosen} */
function folderOf(files, isCut) {
  const bytes = files.reduce((sum, { file }) => sum + file.size + 1024, 0);
  return { name: files[0]?.path.split("/")[0] ?? "folder", files, bytes, isCut };
}

/** A reader gives up to a hundred at a time. @param {FileSystemDirectoryEntry} folder @param {number} most */
async function childrenOf(folder, most) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const found = [];
  for (;;) {
    const some = await new Promise((/** @type {(entries: FileSystemEntry[]) => void} */ resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0 || found.length > most) return found;
    found.push(...some);
  }
}

/** @param {FileSystemFileEntry} entry @returns {Promise<File>} */
function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}
