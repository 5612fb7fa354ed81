// What happened, in words: to those who listen at once, to those who look for a few seconds.

import { byId } from "./dom.js";

let hiding = 0;

export function announce(text) {
  const region = byId("live");
  region.textContent = "";
  requestAnimationFrame(() => (region.textContent = text));
}

export function toast(text) {
  announce(text);
  const box = byId("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.hidden = true), 5000);
}
