// Elements from data. Text becomes text nodes only; nothing here, or anywhere in this page, turns text into markup.

const PLAIN = new Set([
  "alt", "class", "colspan", "dir", "disabled", "for", "height", "hidden", "id", "loading", "max", "min", "name",
  "open", "role", "scope", "selected", "tabindex", "title", "type", "value", "width",
]);

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "href") {
      if (!/^[/#]/.test(value)) throw new TypeError("links lead to this service only");
      element.setAttribute("href", value);
    } else if (PLAIN.has(name) || /^(aria|data)-[a-z-]+$/.test(name)) {
      element.setAttribute(name, value === true ? (name.startsWith("aria-") ? "true" : "") : String(value));
    } else {
      throw new TypeError(`attribute ${name}`);
    }
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on") || name.endsWith("href")) throw new TypeError(`attribute ${name}`);
    element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

const PATHS = {
  up: "M7 10v10H4V10zM7 11l4-8c1.7 0 2.6 1.2 2.3 2.8L12.7 9H18a2 2 0 0 1 2 2.4l-1.3 6.9A2.1 2.1 0 0 1 16.6 20H7",
  down: "M17 14V4h3v10zM17 13l-4 8c-1.7 0-2.6-1.2-2.3-2.8l.6-3.2H6a2 2 0 0 1-2-2.4l1.3-6.9A2.1 2.1 0 0 1 7.4 4H17",
  close: "M6 6l12 12M18 6L6 18",
  add: "M12 5v14M5 12h14",
};

export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", width: 20, height: 20, "aria-hidden": "true", focusable: "false", class: "icon" },
    svg("path", { d: PATHS[name] }),
  );
}

const SOURCES = (document.documentElement.dataset.images ?? "").split(" ").filter(Boolean);

// A product's picture, where its address is one that the shop has named; otherwise nothing.
export function picture(link) {
  let address;
  try {
    address = new URL(link);
  } catch {
    return null;
  }
  const allowed = SOURCES.some((source) => {
    const [scheme, host] = source.split("://");
    if (address.protocol !== `${scheme}:`) return false;
    return host.startsWith("*.") ? address.host.endsWith(host.slice(1)) : address.host === host;
  });
  if (!allowed) return null;
  const image = h("img", { alt: "", loading: "lazy", width: 88, height: 88 });
  image.referrerPolicy = "no-referrer";
  image.decoding = "async";
  image.addEventListener("error", () => image.remove());
  image.src = address.href;
  return image;
}

export const byId = (id) => document.getElementById(id);
export const unseen = (text) => h("span", { class: "unseen" }, text);
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
