import { answer, bytes, given, view } from "./asked.mjs";

answer({
  unpacked: view.unpack(bytes(given.packed)),
  softmax: view.softmax(given.scores.map((x) => x ?? -Infinity)),
  largest: view.largest(given.numbers, 3),
  written: given.written.map(([x, digits]) => view.written(x, digits)),
  chances: given.chances.map(([p, digits]) => view.chance(p, digits)),
  shortened: given.labels.map((label) => view.shortened(label, 6)),
  cividis: given.shares.map(view.cividis),
  signed: given.shares.map((share) => view.signedColor(2 * share - 1, 1)),
});
