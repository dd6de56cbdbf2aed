// The figures take their colours from the page, again whenever the reader's preference changes.
function paint(plot) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line, soft] = ["--ink", "--line", "--soft"].map((name) => style.getPropertyValue(name).trim());
  Plotly.relayout(plot, {
    "font.color": ink, "modebar.color": soft, "modebar.activecolor": ink,
    "xaxis.gridcolor": line, "yaxis.gridcolor": line, "xaxis.zerolinecolor": line, "yaxis.zerolinecolor": line,
  });
}
const paintAll = () => document.querySelectorAll(".js-plotly-plot").forEach(paint);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintAll);
paintAll();
