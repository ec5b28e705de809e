// What ModelWalk shows, without a page: the order of its boxes, their numbers, and their sentences.

import { chance, largest, rowStart, shortened, written } from "./common.js";

// ------------------------------------------------------------------------------------- the boxes

// In the order of the walk: name, what the map calls it, the part of the GPT whose color it has,
// its form on the map (on the stream, beside it, or a plus where something is added), its title.
export const BEFORE = [
  ["tokens", "text → tokens", "tokenizer", "on", "Text becomes tokens"],
  ["token embedding", "token embedding", "embedding", "on", "The id becomes a vector"],
  ["position embedding", "position", "embedding", "plus", "Its place is added"],
];
export const IN_A_LAYER = [
  ["attention norm", "norm", "block", "beside", "Norm, before attention"],
  ["attention", "attention", "attention", "beside", "Attention: where the token looks"],
  ["after attention", "add", "block", "plus", "Attention adds to the stream"],
  ["feed-forward norm", "norm", "block", "beside", "Norm, before the neurons"],
  ["feed-forward", "feed-forward", "block", "beside", "Feed-forward: the neurons answer"],
  ["after feed-forward", "add", "block", "plus", "The neurons add to the stream"],
];
export const BEHIND = [
  ["final norm", "final norm", "model", "on", "The final norm"],
  ["output head", "output head", "model", "on", "A score for every token"],
  ["next token", "next token", "generation", "on", "Probabilities, and a draw"],
  ["loss", "loss", "training", "on", "The loss: how surprised the model was"],
];

/** Every box of the walk in order, with its layer; those before and behind have none. */
export function stationsOf(layers) {
  const alone = (boxes) => boxes.map(([box]) => ({ box }));
  const inside = Array.from({ length: layers }, (_, layer) => (
    IN_A_LAYER.map(([box]) => ({ box, layer }))));
  return [...alone(BEFORE), ...inside.flat(), ...alone(BEHIND)];
}

/** Where in the walk a box is. */
export function stationOf(stations, box, layer) {
  return stations.findIndex((one) => one.box === box && (one.layer ?? layer) === layer);
}

// ------------------------------------------------------------------------------------- numbers

/** The numbers of the array `name` at these places of its first dimensions. */
export function at(data, name, ...places) {
  const shape = data.shapes[name];
  const size = shape.slice(places.length).reduce((product, side) => product * side, 1);
  const n = places.reduce((sum, place, axis) => sum * shape[axis] + place, 0);
  return data[name].subarray(n * size, (n + 1) * size);
}

/** A token's residual stream after so many parts have added to it. */
export function stream(data, row, additions) {
  const x = Float64Array.from(at(data, "start", row));
  for (let n = 0; n < additions; n++) {
    const part = at(data, ["attention", "feed_forward"][n % 2], Math.floor(n / 2), row);
    part.forEach((added, m) => { x[m] += added; });
  }
  return x;
}

/** What a token has for itself and each token before it, of the products or of the weights. */
export function ofHead(data, name, layer, head, token) {
  const begin = data.places.length > 1 ? rowStart(token) : 0;
  return at(data, name, layer, head).subarray(begin, begin + token + 1);
}

/** The vectors of a box, as `{ sign, name, numbers }`; the last one is what leaves the box. */
export function vectors(data, box, layer, row) {
  const layers = data.shapes.weights[0];
  const streamed = (additions, name, sign = "") => (
    { sign, name, numbers: stream(data, row, additions) });
  const stored = (name, title, sign = "", ...places) => (
    { sign, name: title, numbers: at(data, name, ...places, row) });
  switch (box) {
    case "token embedding": return [stored("token", "token embedding")];
    case "position embedding": return [stored("token", "token embedding"),
      stored("position", "position embedding", "+"), stored("start", "the stream begins", "=")];
    case "attention norm": return [streamed(2 * layer, "the stream"),
      stored("attention_norm", "after the norm, for attention", "→", layer)];
    case "after attention": return [streamed(2 * layer, "the stream before"),
      stored("attention", "what attention adds", "+", layer),
      streamed(2 * layer + 1, "the stream now", "=")];
    case "feed-forward norm": return [streamed(2 * layer + 1, "the stream"),
      stored("feed_forward_norm", "after the norm, for the feed-forward network", "→", layer)];
    case "after feed-forward": return [streamed(2 * layer + 1, "the stream before"),
      stored("feed_forward", "what the neurons add", "+", layer),
      streamed(2 * layer + 2, "the stream now", "=")];
    case "final norm": return [streamed(2 * layers, "the stream at its end"),
      stored("final_norm", "after the norm, for the output head", "→")];
    default: return [];
  }
}

const LEAVING = { "token embedding": "token", "position embedding": "start",
  "attention norm": "attention_norm", "feed-forward norm": "feed_forward_norm",
  "final norm": "final_norm" };

/** What leaves these boxes, for one token. */
export function leaving(data, box, layer, row) {
  const name = LEAVING[box];
  return data.shapes[name].length === 3 ? at(data, name, layer, row) : at(data, name, row);
}

export function lengthOf(numbers) {
  return Math.sqrt(numbers.reduce((sum, x) => sum + x * x, 0));
}

export const meanOf = (numbers) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

function evened(numbers) {
  const mean = meanOf(numbers);
  const square = numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / numbers.length;
  return { mean: written(mean), spread: written(Math.sqrt(square)) };
}

// --------------------------------------------------------------------------------------- words

export const quoted = (label) => `‘${shortened(label, 24)}’`;
const counted = (n) => n.toLocaleString("en-US");

/** The words that the sentence of a box lacks, as `facts` in walk.py has them. */
function facts(data, { box, layer, head, token, draw }) {
  const row = data.places.indexOf(token);
  const [layers, heads] = data.shapes.weights;
  const [before, added, after] = vectors(data, box, layer, row).map(({ numbers }) => numbers);
  const common = { token: quoted(data.labels[token]), place: token, id: data.ids[token],
    width: counted(data.shapes.start[1]), vocabulary: counted(data.vocabulary), heads };
  const listed = (name, told) => {
    const best = at(data, "best", row);
    return Array.from(at(data, name, row).slice(0, 3), (x, n) => (
      `${quoted(data.names[best[n]])} ${told(x)}`)).join(", ");
  };
  const there = {
    tokens: () => ({ count: data.ids.length }),
    "token embedding": () => ({ length: written(lengthOf(before), 2) }),
    "position embedding": () => ({ length: written(lengthOf(after), 2) }),
    attention: () => {
      const weights = ofHead(data, "weights", layer, head, token);
      return { head, most: largest(weights, 3).map((n) => (
        `${quoted(data.labels[n])} ${chance(weights[n], 3)}`)).join(", ") };
    },
    "feed-forward": () => {
      const neurons = at(data, "activations", layer, row);
      const [neuron] = largest(neurons, 1);
      return { neurons: counted(neurons.length), neuron, activation: written(neurons[neuron], 2),
        active: counted(neurons.filter((x) => x > 0.5).length) };
    },
    "final norm": () => ({ layers: `${layers} layer${layers > 1 ? "s" : ""}`, ...evened(before) }),
    "output head": () => ({ most: listed("logits", (x) => written(x, 2)) }),
    "next token": () => ({ most: listed("chances", (p) => chance(p, 3)),
      drawn: quoted(data.names[at(data, "drawn", row)[draw]]) }),
    loss: () => ({ mean: written(meanOf(data.surprises)), ...(token < data.surprises.length ? {
      next: quoted(data.labels[token + 1]), surprise: written(data.surprises[token]),
      chance: chance(Math.exp(-data.surprises[token]), 3) } : {}) }),
  };
  const after3 = () => ({ before: written(lengthOf(before), 2), added: written(lengthOf(added), 2),
    length: written(lengthOf(after), 2) });
  const own = there[box] ?? (box.startsWith("after") ? after3 : () => evened(before));
  return { ...common, ...own() };
}

/** What happens in a box, with the numbers of the token that is followed. */
export function sentence(data, settings) {
  const words = facts(data, settings);
  const template = settings.box === "loss" && !words.next
    ? (settings.token ? "loss at the end" : "loss of one token") : settings.box;
  return data.sentences[template].replace(/\{(\w+)\}/g, (_, name) => words[name]);
}
