import { answer, bytes, given, view } from "./asked.mjs";

/** The settings of every case at work on its scores; all scores are one block of bytes. */
function filtered() {
  const { logits, shapes: { logits: [, V] } } = view.unpack(bytes(given.packed));
  return given.cases.map((settings, n) => {
    const scores = logits.subarray(n * V, (n + 1) * V);
    const order = view.descending(scores);
    const { left } = view.bend(Float64Array.from(order, (place) => scores[place]), settings);
    const probabilities = new Float64Array(V);
    left.forEach((p, rank) => { probabilities[order[rank]] = p; });
    return { probabilities, kept: order.slice(0, left.length), bits: view.bits(left) };
  });
}

function drawn() {
  return given.seeds.map((seed) => [...view.drawMany(given.probabilities, given.count, seed)]);
}

answer(given.cases ? filtered() : drawn());
