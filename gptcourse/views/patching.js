// A map of layers and tokens: how far what is carried over from one text brings its answer back.

import {
  chance, choice, css, decimals, inkOn, labelPlaces, make, mount, shortened, signedColor,
  signedLegend, textField, walkGrid, written,
} from "./common.js";

/** What one cell says, in a sentence; as `_sentence` in patching.py. */
export function sentence(data, row, token) {
  const { own, answers, labels, others } = data;
  const count = labels.length;
  const digits = decimals(Math.max(...own));
  const [label, there] = [labels[token], others[token]];
  const where = label === there ? `‘${label}’` : `‘${label}’, in the other text ‘${there}’`;
  const told = answers.map((answer, n) => {
    const patched = data.chances[2 * (row * count + token) + n];
    return `‘${answer}’ ${chance(own[2 + n], digits)} → ${chance(patched, digits)} `
      + `(first text: ${chance(own[n], digits)})`;
  });
  const name = data.rows[row];
  return `${name[0].toUpperCase()}${name.slice(1)}, token ${token} ${where}: carried over into the `
    + `other text, it goes ${written(data.effect[row * count + token], 2)} of the way back to the `
    + `first text's answer. Probabilities: ${told.join("; ")}.`;
}

// ---------------------------------------------------------------------------------------- view

const PARTS = [["stream", "stream"], ["attention", "attention"], ["feed-forward", "feed-forward"]];
const RUNS = ["first text", "other text", "other text, patched"];

const render = (context) => mount(context, (view) => {
  const live = Boolean(context.model.send);
  const state = { data: null, hovered: null, cell: 0 };

  view.root.classList.add("gpt-patching");
  const answers = [textField(view, "answer", "first answer"),
    textField(view, "other_answer", "other answer")];
  const part = choice(view, "part", "what is carried over", PARTS);
  for (const input of part.querySelectorAll("input")) input.disabled = !live;
  view.controls.append(
    textField(view, "prompt", "first text"), textField(view, "other", "other text"), ...answers,
    make("div", { class: "gpt-field" }, make("span", {}, "carry over"), part),
  );
  answers.forEach((field, n) => field.querySelector("textarea")
    .setAttribute("aria-label", n ? "answer of the other text" : "answer of the first text"));

  const grid = make("div", { class: "gpt-grid", role: "group", "aria-label": "layers and tokens" });
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  const runs = make("div", { class: "gpt-runs", "aria-hidden": "true" });
  view.stage.append(
    make("p", { class: "gpt-quiet" }, "Each cell: the other text, with this carried over from the "
      + "first. 0 changes nothing, 1 brings the first text’s answer back."),
    grid, signedLegend(1, "of the way back", false),
    make("div", { class: "gpt-told" }, said, runs));

  const count = () => state.data.labels.length;
  const chosen = () => [
    Math.min(view.get("row"), state.data.rows.length - 1),
    Math.min(view.get("token") ?? state.data.differ.at(-1), count() - 1)];
  const effect = (row, token) => state.data.effect[row * count() + token];
  const cells = () => grid.querySelectorAll("button");

  function makeGrid() {
    const { rows, labels, others, differ } = state.data;
    const parts = [make("span")];
    labels.forEach((label, n) => {
      const other = differ.includes(n);
      parts.push(make("span", { class: other ? "gpt-column gpt-differs" : "gpt-column" },
        make("bdi", {}, shortened(label, other ? 10 : 14)),
        ...(other ? [" ≠ ", make("bdi", {}, shortened(others[n], 10))] : [])));
    });
    rows.forEach((name, row) => {
      parts.push(make("span", { class: "gpt-row-name" }, name));
      labels.forEach((label, token) => {
        parts.push(make("button", {
          type: "button", class: "gpt-cell", tabindex: -1,
          "aria-label": `${name}, token ${token} ${label}: ${written(effect(row, token), 2)}`,
          onclick: () => view.set({ row, token }),
          onpointerenter: view.guarded(() => hover([row, token])),
          onpointerleave: view.guarded(() => hover(null)),
        }));
      });
    });
    grid.replaceChildren(...parts);
    grid.style.setProperty("--tokens", count());
    paintGrid();
  }

  function paintGrid() {
    cells().forEach((element, n) => {
      const ground = signedColor(state.data.effect[n], 1);
      element.style.backgroundColor = css(ground);
      element.style.color = inkOn(ground);
    });
  }

  /** As wide as there is room; numbers and words stand where they can be read. */
  function sizeGrid() {
    const name = Math.max(...[...grid.querySelectorAll(".gpt-row-name")].map(
      (element) => element.offsetWidth));
    const room = (grid.parentElement.clientWidth || 700) - name - 12;
    const cell = Math.max(5, Math.min(44, Math.floor(room / count()) - 2));
    grid.style.setProperty("--cell", `${cell}px`);
    state.cell = cell;
    showLabels();
    cells().forEach((element, n) => {
      const share = state.data.effect[n];
      element.textContent = cell >= 34 ? written(share, 2) : "";
    });
  }

  /** As many as can be read, and always that of the chosen column. */
  function showLabels() {
    const kept = [chosen()[1], ...state.data.differ];
    const shown = new Set(labelPlaces(count(), state.cell + 2, kept, 12));
    grid.querySelectorAll(".gpt-column").forEach((column, n) => {
      column.classList.toggle("gpt-unseen", !shown.has(n));
      column.classList.toggle("gpt-chosen", n === kept[0]);
    });
  }

  function hover(cell) {
    state.hovered = cell;
    tell();
  }

  function tell() {
    const [row, token] = state.hovered ?? chosen();
    said.textContent = sentence(state.data, row, token);
    const { own, answers: tokens, chances } = state.data;
    const [start, digits] = [2 * (row * count() + token), decimals(Math.max(...own))];
    const pairs = [own.slice(0, 2), own.slice(2), chances.slice(start, start + 2)];
    runs.replaceChildren(make("span"), ...tokens.map((token) => (
      make("b", {}, make("bdi", {}, shortened(token, 18))))),
    ...RUNS.flatMap((name, n) => [make("span", {}, name), ...[...pairs[n]].map((p, answer) => {
      const bar = make("i", { class: answer ? "gpt-second" : "gpt-first" });
      bar.style.width = `${100 * p}%`;
      return make("span", { class: "gpt-track" }, bar,
        make("small", {}, chance(p, digits)));
    })]));
  }

  function mark() {
    if (!state.data) return;
    const [row, token] = chosen();
    cells().forEach((element, n) => {
      const current = n === row * count() + token;
      element.tabIndex = current ? 0 : -1;
      element.setAttribute("aria-pressed", String(current));
    });
    showLabels();
    tell();
  }

  walkGrid(grid, () => [state.data.rows.length, count()], chosen, ([row, token]) => {
    state.hovered = null;
    view.set({ row, token });
    cells()[row * count() + token].focus();
  });

  view.onData("data", (data) => {
    Object.assign(state, { data, hovered: null });
    makeGrid();
    sizeGrid();
    data.answers.forEach((answer, n) => {
      answers[n].querySelector("textarea").placeholder = `${answer} (its own)`;
    });
    mark();
  });
  view.on(["row", "token"], mark);
  view.onLook(() => { if (state.data) sizeGrid(); });
  view.onTheme(() => { if (state.data) paintGrid(); });
});

export default { render };
