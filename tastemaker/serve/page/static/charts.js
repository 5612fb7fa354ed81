// Two small drawings: how a number went, and where an interval lies. Each says in words what it shows.

import { svg } from "./dom.js";

const WIDE = 160;
const HIGH = 36;

// A line through the values, the newest at the right; gaps (NaN) stay gaps.
export function trend(values, label) {
  const known = values.filter(Number.isFinite);
  const top = Math.max(...known, 1e-12);
  const x = (place) => ((place / Math.max(1, values.length - 1)) * (WIDE - 4) + 2).toFixed(1);
  const y = (value) => (HIGH - 3 - (value / top) * (HIGH - 8)).toFixed(1);
  let path = "";
  let open = false;
  values.forEach((value, place) => {
    if (!Number.isFinite(value)) {
      open = false;
      return;
    }
    path += `${open ? "L" : "M"}${x(place)} ${y(value)}`;
    open = true;
  });
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "trend", role: "img", "aria-label": label, preserveAspectRatio: "none" },
    svg("path", { d: `M2 ${HIGH - 3}H${WIDE - 2}`, class: "ground" }),
  );
  if (known.length > 1) drawing.append(svg("path", { d: path, class: "line" }));
  return drawing;
}

// A difference with its interval around zero, on a scale from -reach to reach.
export function interval(low, value, high, reach, label) {
  const x = (at) => (((at + reach) / (2 * reach)) * (WIDE - 8) + 4).toFixed(1);
  const clear = low > 0 || high < 0;
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDE} 16`, class: `interval${clear ? " clear" : ""}`, role: "img", "aria-label": label },
    svg("path", { d: `M${x(0)} 0V16`, class: "ground" }),
    svg("path", { d: `M${x(Math.max(-reach, low))} 8H${x(Math.min(reach, high))}`, class: "span" }),
    svg("circle", { cx: x(Math.min(reach, Math.max(-reach, value))), cy: 8, r: 3.5, class: "dot" }),
  );
}
