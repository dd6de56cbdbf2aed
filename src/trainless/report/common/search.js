// Menus that show one of several figures; without this script all are there, one below the other.
for (const menu of document.querySelectorAll("select[data-shows]")) {
  const parts = [...document.querySelectorAll(`[data-part-of="${menu.dataset.shows}"]`)];
  const update = () => parts.forEach((part) => { part.hidden = part.dataset.part !== menu.value; });
  menu.closest(".controls").hidden = false;
  menu.addEventListener("change", () => {
    update();
    for (const part of parts) if (!part.hidden) part.querySelectorAll("[data-figure]").forEach(draw);
  });
  update();
}

// Keys: a click hides or shows what is named there in all figures of its group.
for (const button of document.querySelectorAll("[data-key-of] button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    for (const place of document.getElementById(button.parentElement.dataset.keyOf).querySelectorAll("[data-figure]")) {
      draw(place);
      const members = place.data.flatMap((trace, i) => trace.meta === button.dataset.series ? [i] : []);
      if (members.length) Plotly.restyle(place, { visible: shown }, members);
    }
  });
}
