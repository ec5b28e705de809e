import { answer, given, view } from "./asked.mjs";

answer({
  first: given.chosen.map(([count, token]) => view.firstInLine(count, token)),
  lines: given.rooms.map((room) => view.lineUp(given.widths, room)),
  labels: given.labels.map(([count, cell, kept]) => view.labelPlaces(count, cell, kept, 11)),
});
