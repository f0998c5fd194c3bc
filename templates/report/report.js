"use strict";
(() => {
  const root = document.documentElement;
  const asked = new URLSearchParams(location.search);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const SERIES = 7;
  let printing = false;

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  // plotly reads tags and entities in texts; what is shown here is data.
  const plain = (text) =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\n", "<br>");

  function draw(element) {
    const figure = JSON.parse(element.dataset.figure);
    const texts = figure.texts[root.dataset.lang];
    const ink = colour("--ink"), line = colour("--line"), bars = figure.data[0]?.type === "bar";
    const data = figure.data.map((trace, i) => {
      // Bars begin with the quiet colour of the base model.
      const shade = colour(`--series-${1 + ((bars ? i : i + 1) % SERIES)}`);
      return {
        ...trace,
        name: plain(texts.names[i]),
        line: { color: shade, width: 2 },
        marker: { color: shade, size: 5 },
        ...(trace.error_x && { error_x: { ...trace.error_x, color: colour("--muted") } }),
      };
    });
    const axis = (title) => ({
      title: { text: plain(title), font: { size: 12 }, standoff: 8 },
      gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true,
    });
    const own = figure.layout;
    const ticks = texts.ticks.map(plain), wide = ticks.length > 0;
    // A line of text for each bar, and for each line of a name.
    const tall = texts.ticks.reduce((sum, tick) => sum + Math.max(tick.split("\n").length * 15, data.length * 13) + 12, 90);
    // Paper has no window to fit into: two plots beside each other, or one over the whole width.
    const paper = wide ? 660 : 320;
    const layout = {
      ...own,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 12, t: 8, b: 36 },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--accent") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: line, font: { color: ink } },
      xaxis: { ...own.xaxis, ...axis(texts.titles[0]) },
      yaxis: { ...own.yaxis, ...axis(texts.titles[1]), ...(wide && { ticktext: ticks }) },
      height: wide ? tall : printing ? 190 : 260,
      ...(printing ? { width: paper, autosize: false } : { autosize: true }),
    };
    Plotly.react(element, data, layout, {
      responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  }

  // A table that is wider than its place shows each row as a list: no column is cut off.
  function fit() {
    const tables = [...document.querySelectorAll(".scroll")];
    tables.forEach((each) => each.classList.remove("stacked"));
    if (printing) return; // on paper the cells wrap
    tables.filter((each) => each.scrollWidth > each.clientWidth + 1).forEach((each) => each.classList.add("stacked"));
  }

  const redraw = () => {
    document.querySelectorAll(".plot").forEach(draw);
    fit();
  };

  function speak(language) {
    root.dataset.lang = root.lang = language;
    redraw();
  }

  function light(theme) {
    root.dataset.theme = theme;
    redraw();
  }

  function print(begin) {
    printing = begin;
    root.toggleAttribute("data-print", begin);
    document.querySelectorAll("details").forEach((each) => {
      if (begin && !each.open && !each.matches(".screen")) each.dataset.closed = "";
      if ("closed" in each.dataset) each.open = begin;
      if (!begin) delete each.dataset.closed;
    });
    redraw();
  }

  document.getElementById("language").addEventListener("click", () => speak(root.dataset.lang === "ko" ? "en" : "ko"));
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    light(now === "dark" ? "light" : "dark");
  });
  dark.addEventListener("change", redraw);
  addEventListener("resize", fit);
  document.querySelectorAll("details").forEach((each) => each.addEventListener("toggle", fit));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));

  if (["light", "dark"].includes(asked.get("theme"))) root.dataset.theme = asked.get("theme");
  if (["ko", "en"].includes(asked.get("lang"))) root.dataset.lang = root.lang = asked.get("lang");
  redraw();
})();
