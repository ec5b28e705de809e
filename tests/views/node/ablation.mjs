import { answer, given, view } from "./asked.mjs";

answer({
  on: view.switched(given.off, 0, 1),
  off: view.switched(given.off, 1, 2),
  layerOff: view.switchedLayer(given.off, 0, 3),
  layerOn: view.switchedLayer(view.switchedLayer(given.off, 0, 3), 0, 3),
  reach: given.largest.map(view.reachOf),
});
