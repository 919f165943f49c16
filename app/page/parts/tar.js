/** A folder of the reader's own as a tar without compression; the files stay where they are until they are sent. */

const BLOCK = 512;
const encoder = new TextEncoder();

/**
 * Return the files as one archive, made of references to them: it takes no memory.
 * @param {{ path: string, file: Blob }[]} files
 */
export function tarOf(files) {
  /** @type {BlobPart[]} */
  const parts = [];
  for (const { path, file } of files) {
    const name = encoder.encode(path);
    if (name.length > 100 || name.length !== path.length) {
      const record = recordOf(path);
      parts.push(header("pax", record.length, "x"), record, padding(record.length));
    }
    parts.push(header(path, file.size, "0"), file, padding(file.size));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return new Blob(parts, { type: "application/x-tar" });
}

/** A pax record, whose length counts its own digits: `27 path=…\n`. @param {string} path */
function recordOf(path) {
  const rest = encoder.encode(` path=${path}\n`).length;
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return encoder.encode(`${length} path=${path}\n`);
}

/** @param {string} path @param {number} size @param {string} kind */
function header(path, size, kind) {
  const block = new Uint8Array(BLOCK);
  /** @param {number} at @param {string} text */
  const write = (at, text) => block.set(encoder.encode(text), at);
  block.set(encoder.encode(path).subarray(0, 100));
  write(100, "0000644\0" + "0000000\0" + "0000000\0");
  write(124, `${size.toString(8).padStart(11, "0")}\0` + "00000000000\0" + "        " + kind);
  write(257, "ustar\0" + "00");
  write(148, `${block.reduce((sum, each) => sum + each, 0).toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** @param {number} size */
function padding(size) {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}
