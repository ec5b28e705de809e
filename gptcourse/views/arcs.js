// Attention as arcs over a line of words: who looks at whom, of one head or of several at once.

import { arc, make, rowStart, shortened, svg, walk } from "./common.js";

export const MOST_IN_A_LINE = 30;
export const LEAST = 0.03;                     // a weight below it has no arc
const [TALL, LIFT] = [190, 24];                // how high arcs may be, and how much more for heads
const BEYOND = 30;                             // pixels outside, where arcs from or to there end
const TYPE = { least: 10.5, most: 14 };        // smaller than that, words are slanted instead
const GAP = { least: 7, most: 24 };

/** The first of the tokens in the line: the last ones, or those up to a chosen one before them. */
export function firstInLine(count, token) {
  const last = token < count - MOST_IN_A_LINE ? token : count - 1;
  return Math.max(0, last - MOST_IN_A_LINE + 1);
}

/** Every weight from 0.03 on of `count` tokens that begins or ends from `first` to before `end`. */
export function arcsOf(triangle, count, first, end) {
  const found = [];
  for (let query = first; query < count; query++) {
    for (let key = query < end ? 0 : first; key <= Math.min(query, end - 1); key++) {
      const weight = triangle[rowStart(query) + key];
      if (weight >= LEAST) found.push({ query, key, weight });
    }
  }
  return found;
}

/** Where words of these widths (per pixel of type) stand in so much room, and how. */
export function lineUp(widths, room) {
  const total = widths.reduce((sum, width) => sum + width, 0);
  const size = Math.min(TYPE.most, (room - GAP.least * widths.length) / total);
  if (size >= TYPE.least) {
    const gap = Math.min(GAP.most, (room - size * total) / widths.length);
    let right = 0;
    const places = widths.map((width) => {
      right += size * width + gap;
      return right - (size * width + gap) / 2;
    });
    return { size, places, width: right, slant: 0, depth: 26 };
  }
  const longest = 12 * Math.max(...widths);
  const gutter = Math.min(0.57 * longest, 48);              // the first word leans out of the line
  const cell = Math.min(30, (room - gutter) / widths.length);
  const slant = cell >= 14 ? 55 : 90;
  const places = widths.map((_, n) => gutter + (n + 0.5) * cell);
  const depth = 14 + Math.min(12, 1.1 * cell) / 12 * longest * Math.sin((slant * Math.PI) / 180);
  return { size: Math.min(12, 1.1 * cell), places, width: room, slant, depth };
}

/**
 * The line and its arcs. Pointing at a word, or at an arc, calls `hover` with a token, leaving it
 * with null; `tell` is called with the arc. A click on a word calls `choose`; arrow keys choose, too.
 */
export function arcsOverWords(view, locked, hover, tell, choose) {
  const pale = svg("g", { class: "gpt-pale" });
  const strong = svg("g", { class: "gpt-strong" });
  const picture = svg("svg", { "aria-hidden": "true" }, pale, strong);
  const words = make("div", { class: "gpt-words", role: "group", "aria-label": "tokens" });
  const buttons = () => words.querySelectorAll("button");
  let drawn = [];
  let place = null;
  walk(words, () => buttons().length, locked, (token) => {
    hover(null);
    view.set({ token });
    buttons()[token].hidden = false;             // it may be beyond the line, which follows it
    buttons()[token].focus();
  });

  return {
    element: make("div", { class: "gpt-arcs" }, picture, words),

    write(labels) {
      words.replaceChildren(...labels.map((label, n) => make("button", {
        type: "button", class: "gpt-word", "aria-label": label, onclick: (event) => choose(n, event),
        onpointerenter: view.guarded(() => hover(n)),
        onpointerleave: view.guarded(() => hover(null)),
      }, make("bdi", {}, shortened(label)))));
    },

    /** Line the words up from `first` to before `end`, and draw the arcs of these heads. */
    draw(heads, first, end, room, tokenOf) {
      const measure = make("canvas").getContext("2d");
      measure.font = `100px ${getComputedStyle(words).fontFamily || "sans-serif"}`;
      const shown = [...buttons()].slice(first, end);
      const widths = shown.map((word) => measure.measureText(word.textContent).width / 100);
      const line = lineUp(widths, room);
      buttons().forEach((word, n) => { word.hidden = n < first || n >= end; });
      shown.forEach((word, n) => {
        word.style.left = `${line.places[n]}px`;
        word.style.setProperty("--slant", `${-line.slant}deg`);
        word.classList.toggle("gpt-slanted", line.slant > 0);
      });
      words.style.fontSize = `${line.size}px`;
      words.style.height = `${line.depth}px`;
      place = (look) => {
        const from = line.places[look.query - first] ?? room + BEYOND;
        const to = line.places[look.key - first] ?? -BEYOND;
        return arc(from, to, look.weight, look.color, room, 1, TALL, look.lift);
      };
      const step = Math.min(5, LIFT / heads.length);
      drawn = heads.flatMap(({ triangle, color, head }, nth) => (
        arcsOf(triangle, buttons().length, first, end).map((look) => (
          { ...look, color, head, lift: step * nth }))));
      picture.setAttribute("width", room);
      picture.setAttribute("height", TALL + LIFT);
      picture.setAttribute("viewBox", `0 ${-LIFT} ${room} ${TALL + LIFT}`);
      pale.classList.toggle("gpt-crowded", heads.length > 2);
      pale.replaceChildren(...drawn.map((look) => {
        const element = place(look);
        element.addEventListener("pointerenter", view.guarded(() => {
          hover(tokenOf(look));
          tell(look);
        }));
        element.addEventListener("pointerleave", view.guarded(() => {
          hover(null);
          tell(null);
        }));
        return element;
      }));
    },

    /** The arcs of the current token stand out; `name(n)` says a word's name and its weight. */
    paint(current, name, tokenOf) {
      strong.replaceChildren(...drawn.filter((look) => tokenOf(look) === current).map(place));
      buttons().forEach((word, n) => {
        const { text, weight } = name(n);
        word.classList.toggle("gpt-current", n === current);
        word.classList.toggle("gpt-looked", weight >= 0.1);
        word.tabIndex = n === locked() ? 0 : -1;
        word.setAttribute("aria-pressed", String(n === locked()));
        word.setAttribute("aria-label", text);
      });
    },
  };
}
