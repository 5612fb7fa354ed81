// The operator's view: what the service does now, and what can be changed about it.

import { ask, showModel } from "./api.js";
import { byId } from "./dom.js";
import { events } from "./events.js";
import { experiments } from "./experiments.js";
import { announce } from "./live.js";
import { models } from "./models.js";
import { missing } from "./panels.js";
import { rules } from "./rules.js";
import { clean } from "./text.js";
import { traffic } from "./traffic.js";

const EVERY = 5000;
const FAULTS = new Map([
  ["full", "nothing is stored: the disk is full"],
  ["read_only", "nothing is stored: the store cannot be written"],
  ["unreachable", "the store cannot be reached"],
  ["damaged", "the store is damaged: see tastemaker db check"],
]);
let said = "";

function state(words, good) {
  const box = byId("state");
  box.textContent = words;
  box.classList.toggle("fine", good);
  if (words !== said) announce(words);
  said = words;
}

async function ready() {
  try {
    const told = await ask("GET", "/health/ready");
    const fault = FAULTS.get(told.store?.state);
    state(fault ? `Ready, but ${fault}` : "Ready", !fault);
  } catch (error) {
    state(error.status === 503 ? "Not ready: no model answers" : clean(error.message), false);
  }
}

async function look() {
  if (document.hidden) return;
  await ready();
  await Promise.all([
    traffic().catch((error) => byId("figures").replaceChildren(missing(error, "figures"))),
    events(),
    showModel().catch(() => (byId("model").textContent = "")),
  ]);
}

await look();
await Promise.all([models(), experiments(), rules()]);
document.addEventListener("visibilitychange", look);
for (;;) {
  await new Promise((resolve) => setTimeout(resolve, EVERY));
  await look();
}
