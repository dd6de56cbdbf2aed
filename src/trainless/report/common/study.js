// Figures are drawn when they come near the window, and the others of the open tab one by one after that: a page opens at
// once, and a hidden tab has no size to draw in.
const read = (name) => JSON.parse(document.getElementById(name).textContent);

const begun = new WeakSet();

function draw(place) {
  if (begun.has(place)) return;
  begun.add(place);
  watcher.unobserve(place);
  if (place.dataset.scatter) return drawScatter(place);
  const figure = read(place.dataset.figure);
  Plotly.newPlot(place, figure.data, figure.layout, figure.config).then(() => paint(place));
}

const watcher = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
  { rootMargin: "600px" },
);
const places = document.querySelectorAll("[data-figure], [data-scatter]");
for (const place of places) watcher.observe(place);
addEventListener("beforeprint", () => places.forEach(draw));
addEventListener("load", () => {
  const waiting = [...places].filter((place) => place.offsetParent);
  const next = () => {
    if (!waiting.length) return;
    draw(waiting.shift());
    setTimeout(next);
  };
  setTimeout(next);
});

// The scatter: one set of points for all proxies.
function drawScatter(place) {
  const data = read(place.dataset.scatter);
  const controls = document.querySelector(`[data-controls="${place.id}"]`);
  const note = document.querySelector(`[data-note="${place.id}"]`);
  const short = (value) => Number(value).toLocaleString("en");
  const texts = data.names.map((name, i) => `<b>${data.accuracies[i].toFixed(2)} %</b>`
    + (data.parameters && data.parameters[i] !== null ? `, ${short(data.parameters[i])} parameters` : "") + `<br>${name}`);
  const colours = data.parameters && data.parameters.map((value) => value > 0 ? Math.log10(value) : null);
  const known = (colours || []).filter((value) => value !== null);
  const bounds = [Math.min(...known), Math.max(...known)];
  const update = () => {
    const [proxy, axis, zoom] = ["proxy", "axis", "zoom"].map((name) => controls.querySelector(`[name=${name}]`).value);
    const column = data.columns[proxy];
    const byScore = axis === "values";
    const logarithmic = byScore && column.logarithmic;
    const [low, middle, high] = data.bounds;
    const from = zoom === "all" ? low : Math.min(middle, data.accuracies[column.first]);
    const xs = column[axis];
    const shown = xs.map((_, i) => i).filter((i) => data.accuracies[i] >= from);
    const wide = place.clientWidth > 520;  // a phone has no room for a scale of colours
    const of = (values) => shown.map((i) => values[i]);
    const pick = (i, name, symbol, colour) => ({
      type: "scatter", mode: "markers", name, x: [xs[i]], y: [data.accuracies[i]], text: [texts[i]],
      marker: { symbol, size: 15, color: colour, line: { width: 2.5, color: colour } },
      hovertemplate: `${name}<br>%{text}<extra></extra>`,
    });
    const points = {
      type: "scatter", mode: "markers", x: of(xs), y: of(data.accuracies), text: of(texts), showlegend: false,
      marker: { size: 6, opacity: 0.7, color: "#3f87d0" },
      hovertemplate: `%{text}<br>${byScore ? "score %{x:.5~g}" : "above %{x:.1f} % of all"}<extra></extra>`,
    };
    if (colours) Object.assign(points.marker, {
      color: of(colours), cmin: bounds[0], cmax: bounds[1], colorscale: data.scale.map((colour, i) => [i / (data.scale.length - 1), colour]),
      showscale: wide, colorbar: { title: { text: "parameters", side: "right" }, thickness: 12, ...ticks(...bounds) },
    });
    const room = 0.04 * (high - from) || 1;
    const title = byScore ? column.label + (column.reversed ? " (lower is better, axis turned)" : "")
      : `${column.label}: share of architectures scored lower, %`;
    const beside = wide && colours ? {} : {
      margin: { ...data.layout.margin, r: 40 }, modebar: { ...data.layout.modebar, orientation: "v" },
    };
    const layout = {
      ...data.layout, ...beside, hovermode: "closest", showlegend: true,
      xaxis: { title: { text: title, standoff: 12 }, automargin: true, zeroline: false,
        type: logarithmic ? "log" : "linear", autorange: byScore && column.reversed ? "reversed" : true,
        exponentformat: "power" },
      yaxis: { title: { text: "accuracy, %", standoff: 12 }, automargin: true, zeroline: false,
        range: [from - room, high + room] },
    };
    note.textContent = byScore ? column.note : "";
    const traces = [points, pick(column.first, "first choice of the proxy", "circle-open", "#d1495b"),
      pick(data.optimum, "most accurate", "diamond-open", "#dd7a2b")];
    Plotly.react(place, traces, layout, data.config).then(() => paint(place));
  };
  controls.addEventListener("change", update);
  update();
}

// Marks of a scale of logarithms, named in the numbers themselves.
function ticks(low, high) {
  const values = [];
  for (let power = Math.floor(low); power <= high; power++)
    for (const digit of [1, 2, 5]) {
      const value = power + Math.log10(digit);
      if (value >= low - 1e-9 && value <= high + 1e-9) values.push(value);
    }
  const name = (value) => value >= 1e6 ? `${+(value / 1e6).toPrecision(2)} M` : value >= 1e3 ? `${+(value / 1e3).toPrecision(2)} k` : `${+value.toPrecision(2)}`;
  return { tickvals: values, ticktext: values.map((value) => name(10 ** value)) };
}

// Tables: a click on a heading sorts, another turns the order. What has no number comes last either way.
for (const button of document.querySelectorAll(".sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
    const turned = { ascending: "descending", descending: "ascending" };
    const order = turned[head.getAttribute("aria-sort")] || head.dataset.first;
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const key = (row) => row.cells[head.cellIndex];
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const numbers = [x, y].map((cell) => "value" in cell.dataset ? Number(cell.dataset.value) : null);
      if (numbers[0] !== null && numbers[1] !== null) return sign * (numbers[0] - numbers[1]);
      if (numbers[0] !== null || numbers[1] !== null) return numbers[0] === null ? 1 : -1;
      return sign * x.textContent.localeCompare(y.textContent, "en");
    };
    body.append(...[...body.rows].sort(compare));
  });
}

// Tabs; without this script all panels are there, one below the other.
const tabs = [...document.querySelectorAll("[role=tab]")];
function choose(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", other === tab);
    other.tabIndex = other === tab ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
}
for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(i + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
}
if (tabs.length > 1) {
  tabs[0].parentElement.hidden = false;
  choose(tabs[0]);
}
