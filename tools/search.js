// Looks words up in all chapters. What there is to find stands in the page itself.
const sections = JSON.parse(document.querySelector("#sections").textContent);
const field = document.querySelector("input[type=search]");
const count = document.querySelector("#count");
const list = document.querySelector("#found");
const MOST = 30;
const BEFORE = 60;                                // characters of a hit that stand before the word

function hits(words) {
  const scored = sections.map((section) => {
    const heading = section.heading.toLowerCase();
    const text = section.text.toLowerCase();
    const found = words.map((word) => (heading.includes(word) ? 3 : 0) + (text.includes(word) ? 1 : 0));
    return { section, score: found.every(Boolean) ? found.reduce((sum, x) => sum + x, 0) : 0 };
  });
  return scored.filter(({ score }) => score).sort((a, b) => b.score - a.score);
}

function entry({ section: { page, chapter, heading, place, text } }, word) {
  const at = Math.max(0, text.toLowerCase().indexOf(word) - BEFORE);
  const link = Object.assign(document.createElement("a"), {
    href: `${page}#${encodeURIComponent(place)}`, textContent: `${chapter}: ${heading}`,
  });
  const words = Object.assign(document.createElement("p"), {
    textContent: `${at ? "… " : ""}${text.slice(at, at + 180)} …`,
  });
  const item = document.createElement("li");
  item.append(link, words);
  return item;
}

field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length ? hits(words) : [];
  count.textContent = !words.length ? "" : found.length > MOST
    ? `${found.length} places; here are the best ${MOST}.`
    : `${found.length} ${found.length === 1 ? "place" : "places"}.`;
  list.replaceChildren(...found.slice(0, MOST).map((hit) => entry(hit, words[0])));
});
