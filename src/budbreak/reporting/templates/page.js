// Draws the figures when they come near; values on pointing, tapping and the arrow keys; arms and panels by buttons.
"use strict";
(() => {
  const all = (root, what) => [...root.querySelectorAll(what)];
  const tip = document.getElementById("tip");
  const report = JSON.parse(document.getElementById("report").textContent);
  document.documentElement.classList.add("js");

  const rowsOf = (columns) => Object.values(columns)[0].map((_, row) =>
    Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[row]])));

  // Arms that are not shown, by scope: a run, or the comparison of runs.
  const hidden = new Map();
  const hiddenFor = (plot) => hidden.get(plot.closest("[data-scope]")) || [];
  const narrow = matchMedia("(max-width: 640px)");
  const drawn = new Map();
  let printing = false;
  const draw = async (plot) => {
    const { specs, widths, data } = report.figures[plot.dataset.figure];
    const place = printing ? widths.length - 1 : narrow.matches ? 1 : 0;
    if (drawn.get(plot)?.place === place) return;
    drawn.get(plot)?.view?.finalize();
    const mine = { place };
    drawn.set(plot, mine);
    const spec = structuredClone(specs[place]);
    spec.datasets ??= {};
    for (const [name, key] of Object.entries(data)) spec.datasets[name] = rowsOf(report.tables[key]);
    spec.params.find((param) => param.name === "hidden").value = hiddenFor(plot);
    const options = {
      mode: "vega-lite", ast: true, renderer: "svg", actions: false, defaultStyle: false, logLevel: 1, tooltip: () => {},
      config: report.config,
    };
    const { view } = await vegaEmbed(plot, spec, options);
    if (drawn.get(plot) !== mine) return;
    mine.view = view;
    if (mine.stale) await view.signal("hidden", hiddenFor(plot)).runAsync();
    reachable(plot);
    // Text has one size in all figures: those that need less than the planned width are not stretched.
    const svg = plot.querySelector("svg");
    svg.style.width = `${Math.min(100, 100 * svg.viewBox.baseVal.width / widths[place])}%`;
  };
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) draw(target);
  }, { rootMargin: "300px" });
  const plots = all(document, ".plot");
  plots.forEach((plot) => near.observe(plot));
  narrow.addEventListener("change", () => [...drawn.keys()].forEach((plot) => draw(plot)));
  for (const [when, now] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(when, () => {
      printing = now;
      plots.forEach((plot) => draw(plot));
    });
  }

  // A mark that has something to say, and where its middle is.
  const said = (mark) => mark.__data__?.tooltip;
  const marksOf = (plot) => all(plot, "path, line, text, rect").filter((mark) => said(mark));
  const middle = (mark) => {
    const box = mark.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  let on = null;
  const hide = () => {
    tip.hidden = true;
    on?.classList.remove("on");
    on = null;
  };
  const place = () => {
    if (!on) return;
    const [x, y] = middle(on);
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 14 + width < innerWidth ? x + 14 : x - 14 - width;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(y - height / 2, innerHeight - height - 4))}px`;
  };
  const show = (mark) => {
    hide();
    on = mark;
    mark.classList.add("on");
    tip.textContent = said(mark).trim();
    tip.hidden = false;
    place();
  };
  const nearest = (plot, x, y) => {
    let found = null, least = 26;
    for (const mark of marksOf(plot)) {
      const [left, top] = middle(mark);
      const distance = Math.hypot(left - x, top - y);
      if (distance < least) [found, least] = [mark, distance];
    }
    return found;
  };
  const point = (event) => {
    const plot = event.target.closest?.(".plot");
    const mark = plot && (said(event.target) ? event.target : nearest(plot, event.clientX, event.clientY));
    if (!mark) hide();
    else if (mark !== on) show(mark);
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  document.addEventListener("scroll", place, { passive: true });

  // One stop of the tab key per figure; the arrow keys walk through its values.
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const walk = (plot, [dx, dy]) => {
    const marks = marksOf(plot);
    if (!marks.includes(on)) return marks[0];
    if (dx) return marks[Math.max(0, Math.min(marks.length - 1, marks.indexOf(on) + dx))];
    const [x, y] = middle(on);
    const cost = (mark) => Math.abs(middle(mark)[0] - x) * 4 + Math.abs(middle(mark)[1] - y);
    const beyond = marks.filter((mark) => (middle(mark)[1] - y) * dy > 1);
    return beyond.sort((a, b) => cost(a) - cost(b))[0] || on;
  };
  const reachable = (plot) => {
    const svg = plot.querySelector("svg");
    const { heading, about } = plot.dataset;
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", `${heading}. ${about}`);
    svg.setAttribute("tabindex", "0");
  };
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => {
    const plot = event.target.closest?.(".plot");
    if (!plot) return;
    if (event.key === "Escape") hide();
    if (!(event.key in steps)) return;
    event.preventDefault();
    const mark = walk(plot, steps[event.key]);
    if (!mark) return;
    mark.scrollIntoView({ block: "nearest" });
    show(mark);
  });

  all(document, "[data-arm]").forEach((button) => button.addEventListener("click", () => {
    const scope = button.closest("[data-scope]"), { arm } = button.dataset;
    const shown = button.getAttribute("aria-pressed") !== "true";
    const others = (hidden.get(scope) || []).filter((name) => name !== arm);
    hidden.set(scope, shown ? others : [...others, arm]);
    all(scope, "[data-arm]").filter((other) => other.dataset.arm === arm)
      .forEach((other) => other.setAttribute("aria-pressed", shown));
    hide();
    for (const [plot, mine] of drawn) {
      if (plot.closest("[data-scope]") !== scope) continue;
      if (mine.view) mine.view.signal("hidden", hidden.get(scope)).runAsync();
      else mine.stale = true;
    }
  }));

  all(document, "[data-panels]").forEach((group) => {
    const panels = [...group.children].filter((child) => "panel" in child.dataset);
    if (panels.length < 2) return;
    const choices = document.createElement("div");
    choices.className = `choices ${group.dataset.panels}`;
    choices.setAttribute("role", "group");
    const buttons = panels.map((panel) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = panel.dataset.panel;
      button.addEventListener("click", () => choose(panel));
      choices.append(button);
      return button;
    });
    const choose = (chosen) => panels.forEach((panel, place) => {
      panel.hidden = panel !== chosen;
      buttons[place].setAttribute("aria-pressed", panel === chosen);
    });
    panels[0].before(choices);
    choose(panels[0]);
  });
})();
