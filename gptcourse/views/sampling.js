// The whole vocabulary's scores, bent by temperature and filters, and tokens drawn from them.

import {
  button, chance, decimals, make, mount, seedField, shortened, textField, walk, written,
} from "./common.js";

// ------------------------------------------------------------------------------------- numbers
// The filters of gptlib/generation.py. Each keeps the best tokens and rules out all others, so with
// the scores in descending order a filter only says how many of the first it keeps.

/** Places of the scores, best first; of equal ones the earlier comes first. */
export function descending(logits) {
  return Uint32Array.from(logits, (_, n) => n).sort((a, b) => logits[b] - logits[a] || a - b);
}

/** The probabilities of the first `count` of these scores at a temperature. */
export function probabilitiesOf(ranked, count, temperature = 1) {
  const probabilities = new Float64Array(count);
  let total = 0;
  for (let rank = 0; rank < count; rank++) {
    probabilities[rank] = Math.exp((ranked[rank] - ranked[0]) / temperature);
    total += probabilities[rank];
  }
  for (let rank = 0; rank < count; rank++) probabilities[rank] /= total;
  return probabilities;
}

/** The fewest best tokens that together have probability p or more. */
export function countTopP(probabilities, p) {
  let before = 0;
  let rank = 0;
  while (rank < probabilities.length && before < p) {
    before += probabilities[rank];
    rank += 1;
  }
  return rank;
}

/** The tokens that are at least `share` times as probable as the best one. */
export function countMinP(probabilities, share) {
  const least = share * probabilities[0];
  let rank = 0;
  while (rank < probabilities.length && probabilities[rank] >= least) rank += 1;
  return rank;
}

/**
 * Temperature, top-k, top-p, min-p, in this order; a filter that is null is off. The probabilities
 * of the tokens that are left, best first; and those that top-p was given, in `entering`.
 */
export function bend(ranked, { temperature = 1, topK = null, topP = null, minP = null }) {
  const count = temperature === 0 ? 1 : Math.min(topK ?? ranked.length, ranked.length);
  const entering = probabilitiesOf(ranked, count, temperature || 1);
  let left = entering;
  if (topP !== null) left = probabilitiesOf(ranked, countTopP(left, topP), temperature || 1);
  if (minP !== null) left = probabilitiesOf(ranked, countMinP(left, minP), temperature || 1);
  return { left, entering };
}

/** Entropy in bits. */
export function bits(probabilities) {
  let sum = 0;
  for (const p of probabilities) if (p > 0) sum -= p * Math.log2(p);
  return sum;
}

/** Random numbers from 0 to 1 that follow from a seed: the generator "mulberry32". */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How often each rank comes when `count` tokens are drawn: pairs of rank and times. */
export function drawMany(probabilities, count, seed) {
  const draws = Float64Array.from({ length: count }, randomNumbers(seed)).sort();
  const times = new Map();
  let [sum, rank] = [probabilities[0], 0];
  for (const draw of draws) {
    while (draw >= sum && rank < probabilities.length - 1) sum += probabilities[rank += 1];
    times.set(rank, (times.get(rank) ?? 0) + 1);
  }
  return times;
}

// ---------------------------------------------------------------------------------------- view

const ROWS = 18;
const MOST_OTHERS = 12;
const DRAWS = 200;
const NAMES = { temperature: "temperature", topK: "top_k", topP: "top_p", minP: "min_p" };
const OFF = { temperature: 1, top_k: 0, top_p: 1, min_p: 0 };

const render = (context) => mount(context, (view) => {
  const state = { data: null, current: 0 };

  view.root.classList.add("gpt-sampling");
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  const chart = make("div", { class: "gpt-chart", role: "group", "aria-label": "tokens" });
  const detail = make("p", { class: "gpt-said gpt-quiet" });       // a row's own name says it too
  const others = make("p", { class: "gpt-others" });
  view.stage.append(said, chart, detail, others);
  const again = () => (view.get("draws") ? { seed: view.get("seed") + 1 } : { draws: DRAWS });
  const drawButton = button(`draw ${DRAWS}`, () => view.set(again()),
    `Draw ${DRAWS} next tokens; once more, with the next seed`);
  view.controls.append(
    textField(view, "prompt", "prompt"),
    scale(view, "temperature", "temperature", {
      low: 0, high: 3, step: 0.1, show: (t) => written(t, Number.isInteger(10 * t) ? 1 : 2) }),
    scale(view, "top_k", "top-k", {
      low: 0, high: 200, step: 1, toValue: (k) => Math.min(k, state.data?.logits.length ?? k),
      show: (k) => (k ? `${k}` : "off"),
    }),
    scale(view, "top_p", "top-p", {
      low: 0.01, high: 1, step: 0.01, show: (p) => (p < 1 ? written(p, 2) : "off") }),
    scale(view, "min_p", "min-p", {
      low: 0, high: 1, step: 0.01, show: (p) => (p ? written(p, 2) : "off") }),
    make("div", { class: "gpt-actions" }, drawButton, seedField(view),
      button("reset", () => view.set({ ...OFF, draws: 0 }), "Switch everything off")),
  );

  const nameOf = (rank) => state.data.labels[rank] ?? `#${state.order[rank]}`;

  function compute() {
    const settings = {};
    for (const [ours, trait] of Object.entries(NAMES)) {
      const off = trait !== "temperature" && view.get(trait) === OFF[trait];
      settings[ours] = off ? null : view.get(trait);
    }
    Object.assign(state, bend(state.ranked, settings));
    state.most = Math.max(state.before[0], state.left[0]);
    state.digits = decimals(state.most);
    state.times = view.get("draws")
      ? drawMany(state.left, view.get("draws"), view.get("seed")) : null;
  }

  function draw() {
    if (!state.data) return;
    compute();
    const { before, left, digits } = state;
    said.textContent = `Of ${state.data.logits.length.toLocaleString("en")} tokens, `
      + `${left.length.toLocaleString("en")} can be drawn. Most probable: ‘${nameOf(0)}’, `
      + `${chance(before[0], digits)} before and ${chance(left[0], digits)} after. Entropy `
      + `${written(state.bits, 2)} bits before, ${written(bits(left), 2)} after.`;
    fillRows();
    tell();
    tellOthers();
  }

  // ----- a row for each of the best tokens: probability, running sum, draws

  function makeRows() {
    const count = Math.min(ROWS, state.order.length);
    const key = (kind, words) => (
      make("span", { class: "gpt-key" }, make("i", { class: kind }), words));
    const head = make("div", { class: "gpt-row gpt-head", "aria-hidden": "true" }, make("span"),
      make("span", {}, "probability", key("gpt-pale", "the model’s"),
        key("gpt-strong", "after the filters")),
      make("span", {}, "summed up for top-p"),
      make("span", {}, "drawn", key("gpt-expected", "expected")));
    state.rows = Array.from({ length: count }, (_, rank) => {
      const parts = {
        pale: make("i", { class: "gpt-pale" }), strong: make("i", { class: "gpt-strong" }),
        number: make("b"), sum: make("i", { class: "gpt-sum" }),
        edge: make("i", { class: "gpt-limit" }),
        total: make("b"), drawn: make("i", { class: "gpt-drawn" }),
        expected: make("i", { class: "gpt-expected" }), count: make("b"),
      };
      const element = make("div", {
        class: "gpt-row", role: "img", onclick: () => choose(rank),
        onpointerenter: view.guarded(() => tell(rank)),
        onpointerleave: view.guarded(() => tell()),
      },
      make("bdi", { class: "gpt-name" }, shortened(nameOf(rank), 16)),
      make("span", { class: "gpt-bar" }, parts.pale, parts.strong, parts.number),
      make("span", { class: "gpt-bar" }, parts.sum, parts.edge, parts.total),
      make("span", { class: "gpt-bar" }, parts.drawn, parts.expected, parts.count));
      return { element, ...parts };
    });
    chart.replaceChildren(head, ...state.rows.map((row) => row.element));
  }

  function fillRows() {
    const { before, left, entering, times, digits } = state;
    const reach = state.most < 0.01 ? state.most
      : [0.1, 0.25, 0.5].find((limit) => state.most <= limit) ?? 1;
    const draws = view.get("draws");
    const most = Math.max(1, draws * left[0], ...(times?.values() ?? []));
    let sum = 0;
    state.rows.forEach((row, rank) => {
      const [old, now] = [before[rank], left[rank] ?? 0];
      const count = times?.get(rank) ?? 0;
      sum += entering[rank] ?? 0;
      width(row.pale, (0.68 * old) / reach);
      width(row.strong, (0.68 * now) / reach);
      at(row.number, (0.68 * Math.max(old, now)) / reach);
      row.number.textContent = now ? chance(now, digits) : "ruled out";
      width(row.sum, 0.7 * sum);
      at(row.edge, 0.7 * view.get("top_p"));
      row.edge.hidden = view.get("top_p") >= 1;
      row.total.textContent = chance(sum, digits);
      at(row.total, 0.74);
      width(row.drawn, (0.72 * count) / most);
      at(row.expected, (0.72 * draws * now) / most);
      row.expected.hidden = !times || !now;
      at(row.count, (0.72 * Math.max(count, draws * now)) / most);
      row.count.textContent = times && now ? `${count}` : "";
      row.element.classList.toggle("gpt-out", now === 0);
      row.element.tabIndex = rank === state.current ? 0 : -1;
      row.element.setAttribute("aria-label", describe(rank, sum));
    });
  }

  function describe(rank, sum) {
    const place = state.order[rank];
    const now = state.left[rank];
    const digits = state.digits + 1;
    const drawn = state.times && now ? `; drawn ${state.times.get(rank) ?? 0} times, `
      + `${written(view.get("draws") * now, 1)} expected` : "";
    return `‘${nameOf(rank)}’, id ${place}, score ${written(state.data.logits[place], 2)}: `
      + `probability ${chance(state.before[rank], digits)}`
      + `${now ? ` becomes ${chance(now, digits)}` : " is ruled out"}; summed up for top-p `
      + `${chance(sum, digits)}${drawn}.`;
  }

  function tell(rank = state.current) {
    detail.textContent = state.rows[rank].element.getAttribute("aria-label");
    state.rows.forEach((row, n) => row.element.classList.toggle("gpt-current", n === rank));
  }

  function choose(rank) {
    state.current = rank;
    state.rows[rank].element.focus();
    tell();
  }

  walk(chart, () => state.rows.length, () => state.current, choose);

  /** What was drawn beyond the rows. */
  function tellOthers() {
    others.replaceChildren();
    if (!state.times) return;
    const rest = [...state.times].filter(([rank]) => rank >= state.rows.length);
    const draws = rest.reduce((sum, [, count]) => sum + count, 0);
    others.append(make("span", {}, `${view.get("draws")} drawn with seed ${view.get("seed")}: `
      + `${state.times.size} different tokens, `
      + (draws ? `${draws} draws beyond these rows:` : "none beyond these rows.")));
    for (const [rank, count] of rest.slice(0, MOST_OTHERS)) {
      others.append(make("span", { class: "gpt-other" }, make("bdi", {}, nameOf(rank)),
        count > 1 ? ` × ${count}` : ""));
    }
    if (rest.length > MOST_OTHERS) others.append(`and ${rest.length - MOST_OTHERS} more`);
  }

  view.onData("data", (data) => {
    const order = descending(data.logits);
    const ranked = Float64Array.from(order, (place) => data.logits[place]);
    const before = probabilitiesOf(ranked, ranked.length);
    Object.assign(state, { data, order, ranked, before, bits: bits(before), current: 0 });
    makeRows();
    draw();
  });
  view.on(["temperature", "top_k", "top_p", "min_p", "draws", "seed"], draw);
});

function width(element, share) {
  element.style.width = `${100 * share}%`;
}

function at(element, share) {
  element.style.left = `${100 * share}%`;
}

/** A slider over round numbers; `toValue` may keep them within what there is. */
function scale(view, name, label, { low, high, step, show, toValue = Number }) {
  const readout = make("output", { "aria-hidden": "true" });
  const input = make("input", {
    type: "range", min: low, max: high, step, "aria-label": label,
    oninput: () => view.set({ [name]: toValue(Number(input.value)) }),
  });
  view.on([name], () => {
    const value = view.get(name);
    if (toValue(Number(input.value)) !== value) input.value = value;
    readout.textContent = show(value);
    input.setAttribute("aria-valuetext", readout.textContent);
  });
  return make("label", { class: "gpt-field" }, make("span", { class: "gpt-quiet" }, label), input,
    readout);
}

export default { render };
