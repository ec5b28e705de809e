const name = (view) => {
  view.querySelectorAll(".noUi-handle").forEach((handle) => {
    const label = handle.closest(".widget-inline-hbox")?.querySelector(".widget-label");
    if (label) handle.setAttribute("aria-label", label.textContent);
  });
  view.querySelectorAll(".widget-button i").forEach((icon) => {
    icon.setAttribute("aria-hidden", "true");
  });
  view.querySelector(".gpt-sentence .widget-html-content")?.setAttribute("role", "status");
};
export default () => {
  let shown = 0;                         // how often the view is on the page
  return {
    render({ model, el }) {
      shown += 1;
      el.hidden = true;
      let observer;
      const begin = () => {
        const view = el.closest(".widget-vbox");
        if (!view) return requestAnimationFrame(begin);
        name(view);
        observer = new MutationObserver(() => name(view));
        observer.observe(view, { childList: true, subtree: true });
      };
      begin();
      return () => {
        observer?.disconnect();
        shown -= 1;
        // A cell that is moved takes its view away and brings it back.
        setTimeout(() => { if (!shown) model.send("gone"); }, 1000);
      };
    },
  };
};
