// What a view of the kernel needs of the page around it: see `Page` in base.py.

import { GONE, make, ownKeys, saveButton, whenGone } from "./common.js";

/** Sliders have a handle without a name, and a button's icon is a letter of no alphabet. */
function name(view) {
  for (const handle of view.querySelectorAll(".noUi-handle")) {
    const label = handle.closest(".widget-inline-hbox")?.querySelector(".widget-label");
    if (label) handle.setAttribute("aria-label", label.textContent);
  }
  for (const icon of view.querySelectorAll(".widget-button i")) {
    icon.setAttribute("aria-hidden", "true");
  }
  view.querySelector(".gpt-sentence .widget-html-content")?.setAttribute("role", "status");
}

/** Enter applies a text that a model is to read, as it does in the views of the browser. */
function applyOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  if (!event.target.matches(".gpt-on-enter textarea")) return;
  event.preventDefault();
  event.stopPropagation();
  event.target.dispatchEvent(new Event("change", { bubbles: true }));
}

function giveUp(view) {
  view.classList.add("gpt-gone");
  for (const part of view.children) part.inert = true;
  view.prepend(make("div", { class: "gpt-alert", role: "alert" }, GONE));
}

export default () => {
  let shown = 0;                             // how often the view is on the page
  return {
    render({ model, el }) {
      shown += 1;
      el.hidden = true;
      let heard = false;                     // whether the kernel is there and knows of the view
      let stopListening = () => {};
      let waiting = 0;                       // for the frame in which the view stands on the page
      const undo = [() => cancelAnimationFrame(waiting)];
      const begin = () => {
        const view = el.closest(".widget-vbox");
        if (!view) {
          waiting = requestAnimationFrame(begin);
          return;
        }
        const observer = new MutationObserver(() => name(view));
        observer.observe(view, { childList: true, subtree: true });
        name(view);
        if (model.get("saves")) {
          const saving = saveButton(model);
          view.append(saving.element);
          undo.push(saving.end, () => saving.element.remove());
        }
        view.addEventListener("keydown", applyOnEnter, true);
        undo.push(() => observer.disconnect(), ownKeys(view),
          () => view.removeEventListener("keydown", applyOnEnter, true));
        heard = true;
        stopListening = whenGone({ model, el }, () => {
          heard = false;
          giveUp(view);
        });
        if (heard) model.send("here");
      };
      begin();
      return () => {
        undo.forEach((end) => end());
        shown -= 1;
        // A cell that is moved takes its view away and brings it back. A closed notebook does not,
        // and its kernel hears nothing any more.
        setTimeout(() => {
          stopListening();
          if (!shown && heard) model.send("gone");
        }, 1000);
      };
    },
  };
};
