/** JSON as the service hashes it: texts with one reading only, and numbers that keep every digit. */

const MAX_DEPTH = 500;
const MAX_DIGITS = 4300; // of an integer, as the service reads it
const TOKEN = /[ \t\n\r]*(?:([{}[\],:])|("[^"\\\0-\x1f]*(?:\\(?:["\\/bfnrt]|u[\da-fA-F]{4})[^"\\\0-\x1f]*)*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)|$)/y;

/** A number by its digits: a double would lose some of a large integer. */
export class Digits {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }
}

/** A text that is no JSON, or has more than one reading. */
export class BadJson extends Error {}

/** @typedef {Map<string, any>} ValueMap  from names to values */
/** @typedef {null | boolean | string | Digits | any[] | ValueMap} Value */

/**
 * Return the value of a JSON text; objects are maps, so that no name means anything to JavaScript.
 * @param {string} text @returns {Value}
 * @throws {BadJson}
 */
export function parsed(text) {
  const reader = { text, place: 0 };
  const value = read(reader, next(reader), 0);
  if (next(reader)[0].trim()) throw new BadJson("there is more after its JSON value");
  return value;
}

/** @typedef {{ text: string, place: number }} Reader */

/** @param {Reader} reader @returns {RegExpExecArray} */
function next(reader) {
  TOKEN.lastIndex = reader.place;
  const token = TOKEN.exec(reader.text);
  if (token === null) throw new BadJson(`it is no JSON at character ${reader.place + 1}`);
  reader.place = TOKEN.lastIndex;
  return token;
}

/** @param {Reader} reader @param {RegExpExecArray} token @param {number} depth @returns {Value} */
function read(reader, token, depth) {
  if (depth > MAX_DEPTH) throw new BadJson(`it has more than ${MAX_DEPTH} levels`);
  const [, mark, string, number, word] = token;
  if (string) return JSON.parse(string);
  if (number) return new Digits(number);
  if (word) return JSON.parse(word);
  if (mark === "{") return readObject(reader, depth + 1);
  if (mark === "[") return readList(reader, depth + 1);
  throw new BadJson(mark ? `it has ${mark} in the place of a value` : "it ends in the middle");
}

/** @param {Reader} reader @param {number} depth @returns {Value[]} */
function readList(reader, depth) {
  const entries = [];
  for (let token = next(reader); token[1] !== "]"; token = next(reader)) {
    if (entries.length) token = after(reader, token, ",");
    entries.push(read(reader, token, depth));
  }
  return entries;
}

/** @param {Reader} reader @param {number} depth @returns {ValueMap} */
function readObject(reader, depth) {
  const members = new Map();
  for (let token = next(reader); token[1] !== "}"; token = next(reader)) {
    if (members.size) token = after(reader, token, ",");
    if (!token[2]) throw new BadJson("a member of an object has no name");
    const name = JSON.parse(token[2]);
    // Readers differ in which of two equal names they take, and the hash covers only one.
    if (members.has(name)) throw new BadJson("an object has the same name twice");
    members.set(name, read(reader, after(reader, next(reader), ":"), depth));
  }
  return members;
}

/** Return the token after this mark. @param {Reader} reader @param {RegExpExecArray} token @param {string} mark */
function after(reader, token, mark) {
  if (token[1] !== mark) throw new BadJson(`it lacks a ${mark} at character ${reader.place}`);
  return next(reader);
}

/**
 * Return the only form of a value: names sorted by code points, no spaces, numbers as Python writes them.
 * @param {any} value @param {string} [line]  "\n" breaks lines, for people
 * @returns {string}
 * @throws {BadJson} for what has no form: half of a character, a number that is too large
 */
export function canonical(value, line = "") {
  const deeper = line && `${line}  `;
  /** @param {string} open @param {string[]} entries @param {string} close */
  const list = (open, entries, close) =>
    entries.length ? `${open}${deeper}${entries.join(`,${deeper}`)}${line}${close}` : open + close;
  if (value instanceof Map) {
    const names = [...value.keys()].sort(byCodePoints);
    return list("{", names.map((name) => `${quoted(name)}:${line && " "}${canonical(value.get(name), deeper)}`), "}");
  }
  if (Array.isArray(value)) return list("[", value.map((entry) => canonical(entry, deeper)), "]");
  if (value instanceof Digits) return numeral(value.text);
  return typeof value === "string" ? quoted(value) : String(value);
}

/** @param {string} one @param {string} other */
function byCodePoints(one, other) {
  const [left, right] = [[...one], [...other]];
  const at = left.findIndex((character, index) => character !== right[index]);
  if (at < 0 || at >= right.length) return left.length - right.length;
  return Number(left[at].codePointAt(0)) - Number(right[at].codePointAt(0));
}

/** @param {string} text */
function quoted(text) {
  const written = JSON.stringify(text);
  if (/\\ud[89a-f]/.test(written.replaceAll("\\\\", ""))) throw new BadJson("it has half of a character");
  return written;
}

/** Return a number as Python's json writes what it has read. @param {string} text */
function numeral(text) {
  if (!/[.eE]/.test(text)) {
    if (text.length > MAX_DIGITS) throw new BadJson(`a number has more than ${MAX_DIGITS} digits`);
    return text === "-0" ? "0" : text;
  }
  const number = Number(text);
  if (!Number.isFinite(number)) throw new BadJson("a number is too large");
  if (Object.is(number, -0)) return "-0.0";
  const [digits, exponent] = number.toExponential().split("e");
  const power = Number(exponent);
  if (number !== 0 && (power < -4 || power > 15)) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return Number.isInteger(number) ? `${number}.0` : String(number);
}
