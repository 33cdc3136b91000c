"use strict";
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  /** Gives axes, grids and words of every chart the colours of light or dark. */
  function paint(night) {
    const text = night ? "#c9d1dc" : "#3a4454", line = night ? "#3a4450" : "#dde1e7";
    for (const document of Bokeh.documents) {
      for (const model of document.all_models) {
        const kind = model.type;
        if (kind.endsWith("Axis")) {
          model.setv({ axis_label_text_color: text, major_label_text_color: text, axis_line_color: line,
            major_tick_line_color: line, minor_tick_line_color: null });
        } else if (kind === "Grid") {
          if (model.grid_line_color !== null) model.setv({ grid_line_color: line });
        }
      }
    }
  }

  const charts = new Map(JSON.parse(document.getElementById("charts").textContent).map((one) => [one.target_id, one]));
  const all = charts.size;
  let busy = Promise.resolve();

  /** Draws a chart, after those that were asked for before it. */
  function draw(id) {
    const chart = charts.get(id);
    if (!chart) return;
    charts.delete(id);
    busy = busy.then(async () => {
      await Bokeh.embed.embed_item(chart);
      paint(dark.matches);
      const place = document.getElementById(id);
      place.setAttribute("data-root", chart.root_id);
      place.setAttribute("data-state", "drawn");
      document.documentElement.setAttribute("data-drawn", String(document.querySelectorAll("[data-state=drawn]").length));
    });
  }

  /** What is near is drawn at once, the rest while nothing else is to do: a chart takes a tenth of a second. */
  function drawAll() {
    const near = new IntersectionObserver((seen) => {
      for (const one of seen) if (one.isIntersecting) { near.unobserve(one.target); draw(one.target.id); }
    }, { rootMargin: "300px" });
    for (const id of charts.keys()) near.observe(document.getElementById(id));
    const later = window.requestIdleCallback ?? ((then) => setTimeout(then, 50));
    const next = () => {
      const [id] = charts.keys();
      if (id === undefined) return;
      draw(id);
      busy.then(() => later(next));
    };
    document.documentElement.setAttribute("data-charts", String(all));
    later(next);
  }

  /** Buttons for the map, which the keyboard reaches where it does not reach the chart's own. */
  function zoom(event) {
    const factor = Number(event.target.dataset.zoom);
    const plot = Bokeh.documents.flatMap((one) => one.roots()).find((root) => root.name === "map");
    if (!plot) return;
    if (factor === 0) { plot.reset.emit(); return; }
    for (const range of [plot.x_range, plot.y_range]) {
      const middle = (range.start + range.end) / 2, half = (range.end - range.start) / 2 * factor;
      range.setv({ start: middle - half, end: middle + half });
    }
  }

  /** Shows or hides a series of a chart. */
  function toggle(event) {
    const button = event.currentTarget, on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    const place = document.getElementById(button.dataset.of);
    const owner = Bokeh.documents.find((one) => one.roots().some((root) => root.id === place.dataset.root));
    for (const model of owner?.all_models ?? []) {
      if (model.name === button.dataset.series) model.setv({ visible: on });
    }
  }

  function search(event) {
    const wanted = event.target.value.trim().toLowerCase();
    let count = 0;
    for (const example of document.querySelectorAll("#examples > details")) {
      example.hidden = !example.dataset.key.includes(wanted);
      if (!example.hidden) count += 1;
    }
    document.getElementById("found").textContent = count === 1 ? "1 example" : `${count} examples`;
  }

  document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", zoom));
  document.querySelectorAll("[data-series]").forEach((button) => button.addEventListener("click", toggle));
  document.getElementById("find")?.addEventListener("input", search);
  dark.addEventListener("change", () => paint(dark.matches));
  window.addEventListener("beforeprint", () => paint(false));
  window.addEventListener("afterprint", () => paint(dark.matches));
  Bokeh.set_log_level("warn");
  drawAll();
})();
