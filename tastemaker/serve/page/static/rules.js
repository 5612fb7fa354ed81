// Business rules: those in force, and a new document that is checked before it is put.

import { ask } from "./api.js";
import { byId, h } from "./dom.js";
import { announce, toast } from "./live.js";
import { confirmed, missing, nothing, table } from "./panels.js";
import { clean, count, several } from "./text.js";

const EXAMPLE = { rule: [{ name: "in stock", keep: { availability: ["in stock"] } }] };

export async function rules() {
  const box = byId("rules");
  try {
    const { version, rules: document } = await ask("GET", "/v1/rules");
    show(box, version, document);
  } catch (error) {
    box.replaceChildren(missing(error, "rules"));
  }
}

function show(box, version, document) {
  const known = document.rule ?? [];
  const text = h("textarea", { id: "rules-text", name: "rules", "aria-describedby": "rules-help" });
  text.rows = 14;
  text.spellcheck = false;
  text.value = JSON.stringify(known.length ? document : EXAMPLE, null, 2);
  const said = h("div", { id: "rules-said", role: "status" });
  box.replaceChildren(
    known.length
      ? nothing(`Version ${version} is in force: ${several(known.length, "rule")}.`)
      : nothing(version ? `Version ${version} is in force and holds no rule.` : "No rules yet: every product may be listed."),
    h("ol", { class: "rule-list" }, ...known.map(line)),
    h(
      "details",
      { class: "fold" },
      h("summary", {}, h("h3", {}, known.length ? "Change the rules" : "Write the first rules")),
      h("label", { for: "rules-text" }, "Document, as JSON"),
      text,
      h("p", { class: "soft small", id: "rules-help" }, "A document replaces the one in force as a whole. It is checked first; earlier versions stay in the store."),
      h(
        "div",
        { class: "row actions" },
        h("button", { type: "button", on: { click: () => check(text, said) } }, "Check"),
        h("button", { type: "button", class: "primary", on: { click: () => put(text, said) } }, "Put in force"),
      ),
      said,
    ),
  );
}

function line(rule) {
  const { name, enabled, when, unless, ...action } = rule;
  const words = Object.entries(action).map(([kind, value]) => `${kind} ${JSON.stringify(value)}`);
  if (when) words.push(`when ${JSON.stringify(when)}`);
  if (unless) words.push(`unless ${JSON.stringify(unless)}`);
  return h(
    "li",
    {},
    h("strong", { dir: "auto" }, clean(name, 120)),
    enabled === false && h("span", { class: "soft" }, " (off)"),
    h("code", {}, clean(words.join("; "), 400)),
  );
}

function read(text, said) {
  try {
    return JSON.parse(text.value);
  } catch (error) {
    said.replaceChildren(h("p", { class: "bad" }, `This is no JSON: ${clean(error.message)}`));
    text.focus();
    return null;
  }
}

// Show what a document would do; return it where it can be put.
async function check(text, said) {
  const document = read(text, said);
  if (document === null) return null;
  try {
    const told = await ask("POST", "/v1/rules:check", { rules: document });
    const warnings = [...told.warnings, ...told.rules.flatMap((rule) => rule.warnings.map((one) => `${rule.rule}: ${one}`))];
    said.replaceChildren(
      h("p", { class: "good" }, `It can be put. ${count(told.allowed)} of ${several(told.products, "product")} may be shown to somebody of whom nothing is known.`),
      ...warnings.map((one) => h("p", { class: "bad" }, clean(one, 400))),
      told.rules.length
        ? table(
            "What each rule touches",
            ["Rule", "Action", "Holds", "#Products", "#Hides"],
            told.rules.map((rule) => [
              clean(rule.rule, 80),
              rule.kind,
              clean(rule.holds, 120),
              rule.products === null ? "–" : count(rule.products),
              rule.hides === null ? "–" : count(rule.hides),
            ]),
          )
        : "",
    );
    return document;
  } catch (error) {
    said.replaceChildren(
      missing(error, "rules"),
      ...(error.errors ?? []).map((one) => h("p", { class: "bad small" }, h("code", {}, clean(one.place, 120)), ` ${clean(one.message, 400)}`)),
    );
    return null;
  }
}

async function put(text, said) {
  const document = await check(text, said);
  if (document === null) return;
  const { textContent } = said.firstChild;
  if (!(await confirmed("Put these rules in force?", `They hold from the next list on. ${textContent}`, "Put in force"))) return;
  try {
    const { version } = await ask("PUT", "/v1/rules", { rules: document });
    toast(`Version ${version} of the rules is in force.`);
    await rules();
    announce(`Version ${version} of the rules is in force.`);
  } catch (error) {
    said.replaceChildren(missing(error, "rules"));
  }
}
