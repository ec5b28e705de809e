// What the test gives, and how it gets its answer.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

export const view = await import(pathToFileURL(process.argv[2]));
export const given = JSON.parse(readFileSync(0, "utf8"));

/** Base64 as a page gets bytes: a view into a larger buffer. */
export function bytes(text) {
  const buffer = Buffer.concat([Buffer.alloc(3), Buffer.from(text, "base64")]);
  return new DataView(buffer.buffer, buffer.byteOffset + 3, buffer.length - 3);
}

/** JSON has no NaN and no infinities; Python reads these names. */
export function answer(result) {
  process.stdout.write(JSON.stringify(result, (_, x) => {
    if (ArrayBuffer.isView(x)) return Array.from(x);
    return typeof x === "number" && !Number.isFinite(x) ? String(x) : x;
  }));
}
