// Values on pointing, tapping and the arrow keys; arms and panels by buttons. Without this the page shows everything.
"use strict";
(() => {
  const all = (root, what) => [...root.querySelectorAll(what)];
  const tip = document.getElementById("tip");
  document.documentElement.classList.add("js");

  const middle = (mark) => {
    const box = (mark.querySelector(":scope > rect") || mark.lastElementChild).getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const marksOf = (svg) => all(svg, ".tip").filter((mark) => !mark.closest(".off"));
  const hide = () => {
    tip.hidden = true;
    all(document, ".tip.on").forEach((mark) => mark.classList.remove("on"));
  };
  const place = () => {
    const mark = document.querySelector(".tip.on");
    if (!mark) return;
    const [x, y] = middle(mark);
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 14 + width < innerWidth ? x + 14 : x - 14 - width;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(y - height / 2, innerHeight - height - 4))}px`;
  };
  const show = (mark) => {
    hide();
    mark.classList.add("on");
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    place();
  };
  const nearest = (svg, x, y) => {
    const distance = (mark) => Math.hypot(middle(mark)[0] - x, middle(mark)[1] - y);
    const found = marksOf(svg).map((mark) => [distance(mark), mark]).sort((a, b) => a[0] - b[0])[0];
    return found && found[0] < 26 ? found[1] : null;
  };
  const point = (event) => {
    const svg = event.target.closest?.("figure svg[role]");
    const mark = svg && (event.target.closest(".tip") || nearest(svg, event.clientX, event.clientY));
    if (mark) show(mark); else hide();
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  document.addEventListener("scroll", place, { passive: true });

  // One stop of the tab key per figure; the arrow keys walk through its values.
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const walk = (svg, [dx, dy]) => {
    const marks = marksOf(svg);
    const now = marks.find((mark) => mark.classList.contains("on"));
    if (!now) return marks[0];
    if (dx) return marks[Math.max(0, Math.min(marks.length - 1, marks.indexOf(now) + dx))];
    const [x, y] = middle(now);
    const cost = (mark) => Math.abs(middle(mark)[0] - x) * 4 + Math.abs(middle(mark)[1] - y);
    const beyond = marks.filter((mark) => (middle(mark)[1] - y) * dy > 1);
    return beyond.sort((a, b) => cost(a) - cost(b))[0] || now;
  };
  all(document, "figure svg[role]").forEach((svg) => {
    const title = svg.querySelector("title");
    svg.setAttribute("aria-label", title.textContent);
    svg.removeAttribute("aria-labelledby");
    title.remove(); // else browsers show it over the values
    if (!svg.querySelector(".tip")) return;
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      if (!(event.key in steps)) return;
      event.preventDefault();
      const mark = walk(svg, steps[event.key]);
      if (!mark) return;
      mark.scrollIntoView({ block: "nearest" });
      show(mark);
    });
  });

  all(document, "[data-toggle]").forEach((button) => button.addEventListener("click", () => {
    const scope = button.closest("[data-scope]");
    const shown = button.getAttribute("aria-pressed") !== "true";
    all(scope, `[data-toggle="${button.dataset.toggle}"]`).forEach((b) => b.setAttribute("aria-pressed", shown));
    all(scope, `[data-series="${button.dataset.toggle}"]`).forEach((part) => part.classList.toggle("off", !shown));
    hide();
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
