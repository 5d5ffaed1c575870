// Draws the figures of a report from the numbers beside it.  Nothing is fetched: everything is in this file.
"use strict";

const page = JSON.parse(document.getElementById("numbers").textContent);
const config = {
  responsive: true, displayModeBar: false, scrollZoom: false,
};
const narrow = () => window.innerWidth < 640;
const dark = () => document.documentElement.dataset.theme === "dark";
const shade = (name) => page.style[name][dark() ? "dark" : "light"];
const hasWebGL = (() => {
  try { return Boolean(document.createElement("canvas").getContext("webgl")); } catch (error) { return false; }
})();

// ---- theme -----------------------------------------------------------------------------------------------------

function recolour(value) {
  // Every colour of a figure is one of the light palette; in the dark its partner takes its place.
  if (typeof value === "string") return page.style.partner[value] || value;
  if (Array.isArray(value)) return value.map(recolour);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recolour(inner)]));
  }
  return value;
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = theme === "dark" ? "Light" : "Dark";
  document.querySelectorAll(".plot[data-drawn]").forEach((plot) => draw(plot));
}

function firstTheme() {
  let kept = null;
  try { kept = localStorage.getItem("trajrl-theme"); } catch (error) { kept = null; }
  return kept || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

// ---- figures ---------------------------------------------------------------------------------------------------

function draw(plot) {
  const figure = plot.closest("figure");
  const kind = figure.dataset.kind;
  const numbers = numbersOf(figure);
  const drawn = kind === "cloud" ? cloud(figure, numbers) : kind === "explorer" ? explorer(figure, numbers) : numbers;
  const layout = fit(dark() ? recolour(drawn.layout) : structuredClone(drawn.layout), drawn.data);
  plot.dataset.drawn = "yes";
  plot.style.minHeight = `${layout.height}px`;
  return Plotly.react(plot, dark() ? recolour(drawn.data) : drawn.data, layout, config);
}

function fit(layout, traces) {
  // On a phone names stand one to a line, the figure grows by their height, and a swipe scrolls the page.
  const named = traces.filter((trace) => trace.name && trace.showlegend !== false);
  if (layout.showlegend && narrow()) {
    const lines = named.reduce((sum, trace) => sum + trace.name.split("<br>").length, 0);
    layout.height = (layout.height || 400) - 60 + (layout.scene ? 40 : 20 * lines);
    if (!layout.scene) layout.legend = { ...layout.legend, orientation: "v" };
  }
  if (narrow() && !layout.scene) layout.dragmode = false;
  return layout;
}

function chosen(figure, name) {
  const select = figure.querySelector(`select[data-choice="${name}"]`);
  return select ? select.value : "";
}

function baseLayout(height) {
  return { ...structuredClone(page.style.layout), height, hovermode: "closest" };
}

// ---- packed numbers --------------------------------------------------------------------------------------------

function unpack(packed) {
  // 16-bit codes between a low end and a high one; 65535 stands for a missing number.
  const bytes = Uint8Array.from(atob(packed.codes), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, i) => {
    const code = view.getUint16(2 * i, true);
    return code === 65535 ? null : packed.low + packed.step * code;
  });
}

function unpackAll(value) {
  if (Array.isArray(value)) return value.map(unpackAll);
  if (!value || typeof value !== "object") return value;
  if (typeof value.codes === "string" && "low" in value) return unpack(value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpackAll(inner)]));
}

function numbersOf(figure) {
  // Unpacked once, when a figure is first drawn.
  const key = figure.dataset.key;
  const found = page.figures[key];
  if (figure.dataset.kind === "chart" || found.unpacked) return found;
  const unpacked = { ...unpackAll(found), unpacked: true };
  if (unpacked.label) {
    const names = Object.keys(unpacked.label);
    const short = (value) => String(Number(value.toPrecision(5)));
    unpacked.labels = unpacked.points[0].map((_, i) => names.map((name) => `${name} ${short(unpacked.label[name][i])}`).join(", "));
  }
  page.figures[key] = unpacked;
  return unpacked;
}

// ---- clouds of trajectories and states -------------------------------------------------------------------------

function cloud(figure, numbers) {
  const size = numbers.labels.length > 500 ? 2.5 : 4;
  const flat = chosen(figure, "view") === "flat" || !hasWebGL;
  const column = numbers.columns[chosen(figure, "colour")];
  const picker = numbers.columns[numbers.picker];
  const pick = chosen(figure, "pick");
  const all = numbers.labels.map((_, i) => i);
  const kept = pick === "all" ? all : all.filter((i) => picker.names[picker.codes[i]] === pick);
  const traces = [];
  if (kept.length < all.length) {
    const keep = new Set(kept);
    traces.push(dots(numbers, all.filter((i) => !keep.has(i)), "others", { color: page.style.rule, size: size / 2 }, flat));
  }
  if (column.names) {
    column.names.forEach((name, place) => {
      const own = kept.filter((i) => column.codes[i] === place);
      const symbol = page.style.rounds[Math.floor(place / page.style.round) % page.style.rounds.length];
      const marker = { color: page.style.colours[place % page.style.colours.length], size, symbol };
      if (own.length) traces.push(dots(numbers, own, name, marker, flat));
    });
  } else {
    const marker = {
      color: kept.map((i) => column.values[i]), colorscale: page.style.scale, size,
      colorbar: { title: { text: chosen(figure, "colour") }, thickness: 12, len: 0.8 },
    };
    traces.push(dots(numbers, kept, chosen(figure, "colour"), marker, flat));
  }
  const layout = { ...baseLayout(narrow() ? 420 : 540), showlegend: traces.length > 1 };
  const titles = numbers.axes;
  if (flat) {
    layout.xaxis = { ...layout.xaxis, title: { text: titles[0] } };
    layout.yaxis = { ...layout.yaxis, title: { text: titles[1] } };
  } else {
    const small = narrow() ? { nticks: 4, tickfont: { size: 9 } } : {};
    const axis = (text) => ({ ...small, title: { text, font: { size: narrow() ? 10 : 13 } }, gridcolor: page.style.rule, color: page.style.ink, backgroundcolor: "rgba(0,0,0,0)" });
    const turn = Number(figure.dataset.turn || 45) * Math.PI / 180;
    const far = narrow() ? 2.6 : 1.9;
    const camera = { eye: { x: far * Math.cos(turn), y: far * Math.sin(turn), z: 0.5 * far }, center: { x: 0, y: 0, z: -0.2 } };
    layout.scene = {
      xaxis: axis(titles[0]), yaxis: axis(titles[1]), zaxis: axis(titles[2]), camera, aspectmode: "cube",
    };
    layout.margin = { l: 0, r: 0, t: 0, b: 0 };
    layout.legend = { ...layout.legend, itemsizing: "constant" };
  }
  return { data: traces, layout };
}

function dots(numbers, own, name, marker, flat) {
  const take = (axis) => own.map((i) => numbers.points[axis][i]);
  const trace = {
    type: flat ? "scatter" : "scatter3d", mode: "markers", name, x: take(0), y: take(1),
    text: own.map((i) => numbers.labels[i]), hovertemplate: "%{text}<extra></extra>",
    marker: { ...marker, size: flat ? marker.size + 2 : marker.size },
  };
  return flat ? trace : { ...trace, z: take(2) };
}

// ---- the Q-function --------------------------------------------------------------------------------------------

function explorer(figure, numbers) {
  const state = Number(chosen(figure, "state"));
  const across = Number(chosen(figure, "across"));
  const up = Number(chosen(figure, "up"));
  const size = numbers.grid.length;
  const place = numbers.pairs.findIndex(([i, j]) => (i === across && j === up) || (i === up && j === across));
  const straight = numbers.pairs[place][0] === across;
  const start = (state * numbers.pairs.length + place) * size * size;
  const at = (row, column) => numbers.q[start + (straight ? row * size + column : column * size + row)];
  const z = numbers.grid.map((_, row) => numbers.grid.map((_, column) => at(row, column)));
  const mark = (name, action, symbol) => ({
    type: "scatter", mode: "markers", name, x: [action[across]], y: [action[up]],
    marker: { size: 13, symbol, color: "#fffffe", line: { color: "#000001", width: 2 } },
  });
  const layout = baseLayout(narrow() ? 400 : 460);
  layout.xaxis = { ...layout.xaxis, title: { text: `action ${across}` }, range: [-1.05, 1.05] };
  layout.yaxis = { ...layout.yaxis, title: { text: `action ${up}` }, range: [-1.05, 1.05] };
  const data = [
    {
      type: "heatmap", x: numbers.grid, y: numbers.grid, z, colorscale: page.style.scale, showlegend: false,
      colorbar: { title: { text: "Q" }, thickness: 12 }, hovertemplate: "%{x:.2f}, %{y:.2f}: %{z:.4g}<extra></extra>",
    },
    mark("data's action", numbers.data_action[state], "circle"),
    mark("mean of the policy's", numbers.policy_action[state], "square"),
  ];
  return { data, layout };
}

function keepApart(figure, changed) {
  // The two axes of a plane must differ: the other one moves on.
  const [across, up] = ["across", "up"].map((name) => figure.querySelector(`select[data-choice="${name}"]`));
  if (!across || !up || across.value !== up.value || across.options.length < 2) return;
  const other = changed === across ? up : across;
  other.selectedIndex = (other.selectedIndex + 1) % other.options.length;
}

// ---- start -----------------------------------------------------------------------------------------------------

function showPanel(run) {
  document.querySelectorAll(".panel").forEach((panel) => { panel.hidden = panel.dataset.run !== run; });
  document.querySelectorAll(".panel:not([hidden]) .plot").forEach((plot) => watcher.observe(plot));
}

const watcher = new IntersectionObserver((entries) => {
  entries.filter((entry) => entry.isIntersecting && !entry.target.dataset.drawn).forEach((entry) => draw(entry.target));
}, { rootMargin: "600px" });

document.querySelectorAll("figure[data-key]").forEach((figure) => {
  figure.addEventListener("change", (event) => {
    keepApart(figure, event.target);
    draw(figure.querySelector(".plot"));
  });
  figure.querySelectorAll("button[data-turn]").forEach((button) => button.addEventListener("click", () => {
    figure.dataset.turn = Number(figure.dataset.turn || 45) + Number(button.dataset.turn);
    draw(figure.querySelector(".plot"));
  }));
  const view = figure.querySelector('select[data-choice="view"]');
  if (view && !hasWebGL) { view.value = "flat"; view.disabled = true; }
});
document.getElementById("theme").addEventListener("click", () => {
  const theme = dark() ? "light" : "dark";
  try { localStorage.setItem("trajrl-theme", theme); } catch (error) { /* a file may have no storage */ }
  setTheme(theme);
});
const picker = document.getElementById("pick-run");
if (picker) picker.addEventListener("change", () => showPanel(picker.value));
let width = window.innerWidth;
window.addEventListener("resize", () => {
  const before = width < 640;
  width = window.innerWidth;
  if (before !== narrow()) document.querySelectorAll(".plot[data-drawn]").forEach((plot) => draw(plot));
});
setTheme(firstTheme());
document.querySelectorAll(".plot").forEach((plot) => watcher.observe(plot));
document.documentElement.dataset.ready = "yes";
