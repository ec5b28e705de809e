import { answer, bytes, given, view } from "./asked.mjs";

const data = view.unpack(bytes(given.packed));
answer(given.cells.map(([row, token]) => view.sentence(data, row, token)));
