import { answer, bytes, given, view } from "./asked.mjs";

const head = view.unpack(bytes(given.packed));
answer(given.cases.map((settings) => {
  const stages = view.stages(head, settings);
  const own = view.rowOf(head.head_outputs, settings.token, head.shapes.keys[1]);
  return { ...stages, off: view.distance(stages.output, own) };
}));
