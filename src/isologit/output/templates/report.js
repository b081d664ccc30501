"use strict";
// What a report does: themes, figures as they come near, the filter of tokens, copying a command.
// Without it the page reads all the same: every number is in its text.
(() => {
  const root = document.documentElement;
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (name, properties = {}) => Object.assign(document.createElement(name), properties);
  const json = (id) => JSON.parse(document.getElementById(id).textContent);

  // ---- Theme: of the system, until the button says otherwise. Nothing is stored.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const toggle = one("#theme");
  const say = () => {
    one("span", toggle).textContent = root.dataset.theme || "as the system";
  };
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    // What the system does not show comes first, then what it does, then the system again.
    const [other, own] = system.matches ? ["light", "dark"] : ["dark", "light"];
    const next = { [other]: own, [own]: "" }[root.dataset.theme || ""] ?? other;
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    say();
    recolour();
  });
  system.addEventListener("change", () => recolour());

  // A custom property says light-dark(…) when it is asked; what it comes to is seen on an element.
  const probe = made("i", { hidden: true });
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  // ---- Figures. Their own colours are those of data; text and ground are the page's.
  const narrow = () => innerWidth < 640;
  const AXIS = /^[xyz]axis\d*$/;
  const axesOf = (layout) => {
    const found = ["xaxis", "yaxis", ...Object.keys(layout).filter((key) => AXIS.test(key))];
    for (const scene of Object.keys(layout).filter((key) => /^scene\d*$/.test(key)))
      found.push(...["xaxis", "yaxis", "zaxis"].map((axis) => `${scene}.${axis}`));
    return new Set(found);
  };
  const themeOf = (layout) => {
    const [ink, muted, rule, ground] = ["ink", "muted", "rule", "ground"].map(colour);
    const clear = "rgba(0,0,0,0)";
    const theme = {
      paper_bgcolor: clear,
      plot_bgcolor: clear,
      "font.color": ink,
      "font.family": getComputedStyle(document.body).fontFamily,
      "hoverlabel.bgcolor": ground,
      "hoverlabel.bordercolor": muted,
      "hoverlabel.font.color": ink,
      "legend.bgcolor": clear,
      "modebar.bgcolor": clear,
      "modebar.color": muted,
      "modebar.activecolor": ink,
    };
    for (const axis of axesOf(layout))
      Object.assign(theme, {
        [`${axis}.gridcolor`]: rule,
        [`${axis}.zerolinecolor`]: rule,
        [`${axis}.linecolor`]: muted,
        [`${axis}.tickcolor`]: muted,
      });
    (layout.annotations || []).forEach((_, n) => (theme[`annotations[${n}].font.color`] = ink));
    return theme;
  };
  const put = (target, path, value) => {
    const keys = path.replace(/\[(\d+)\]/g, ".$1").split(".");
    const last = keys.pop();
    keys.reduce((at, key) => (at[key] ??= {}), target)[last] = value;
  };

  // A map whose axes are of one scale is as high as its width allows.
  const heightOf = (layout, width) => {
    const asked = layout.height || 400;
    const isMap = Object.keys(layout).some((key) => AXIS.test(key) && layout[key].scaleanchor);
    return Math.round(Math.min(asked, isMap ? 0.55 * width + 60 : asked, narrow() ? 340 : asked));
  };
  const config = { ...json("plot-config"), modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
  const waiting = new Set(all(".plot"));
  const draw = (place) => {
    if (!waiting.delete(place)) return;
    const { data, layout } = json(`data-${place.dataset.figure}`);
    for (const [path, value] of Object.entries(themeOf(layout))) put(layout, path, value);
    // The page has its own, which a keyboard reaches and a narrow screen holds.
    const menus = layout.updatemenus || [];
    delete layout.updatemenus;
    layout.showlegend = false;
    layout.autosize = true;
    // Where a legend and buttons of plotly's would have been is no room to be left.
    layout.margin = { ...layout.margin, t: Math.min(layout.margin?.t ?? 24, 24) };
    layout.height = heightOf(layout, place.clientWidth);
    place.style.height = `${layout.height}px`;
    place.dataset.height = layout.height;
    Plotly.newPlot(place, data, layout, { ...config, displayModeBar: narrow() ? false : "hover" });
    place.classList.add("drawn");
    controls(place, menus);
  };

  // What plotly draws as buttons and as a legend, as buttons of the page: a keyboard reaches them,
  // and a narrow screen holds them.
  const button = (text, pressed, action) => {
    const found = made("button", { type: "button", className: "choice" });
    found.append(...text);
    found.setAttribute("aria-pressed", String(pressed));
    found.addEventListener("click", action);
    return found;
  };
  const controls = (place, menus) => {
    const box = one(`[data-controls="${place.dataset.figure}"]`);
    const legend = made("div", { className: "choices" });
    legend.setAttribute("role", "group");
    legend.setAttribute("aria-label", "Shown");
    for (const menu of menus) {
      const group = made("div", { className: "choices menu" });
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", "Show by");
      menu.buttons.forEach((each, n) => {
        const choose = async () => {
          await Plotly[each.method](place, ...each.args);
          for (const other of group.children)
            other.setAttribute("aria-pressed", String(other === own));
          listTraces(place, legend);
        };
        const own = button([each.label], n === (menu.active || 0), choose);
        group.append(own);
      });
      box.append(group);
    }
    box.append(legend);
    listTraces(place, legend);
  };
  // Told by shape as well as by colour, as in the figure.
  const SHAPES = { square: "■", diamond: "◆", "triangle-up": "▲", "triangle-down": "▼", cross: "✚" };
  Object.assign(SHAPES, { x: "✖", star: "★", "circle-open": "○", hexagon: "⬢" });
  const sign = (trace) => {
    const marker = trace.marker || {};
    const isLine = trace.type === "scatter" && !(trace.mode || "").includes("markers");
    const own = isLine ? trace.line && trace.line.color : marker.color;
    const shape = trace.type === "bar" ? "■" : SHAPES[marker.symbol] || "●";
    const found = made("i", { textContent: isLine ? "━" : shape });
    found.setAttribute("aria-hidden", "true");
    if (typeof own === "string") found.style.color = own;
    return found;
  };
  const listTraces = (place, legend) => {
    const named = new Map();
    place._fullData.forEach((trace, n) => {
      if (trace.showlegend === false || trace.visible === false || !trace.name) return;
      const key = trace.legendgroup || trace.name;
      if (!named.has(key)) named.set(key, { trace, traces: [] });
      named.get(key).traces.push(n);
    });
    const every = [...named.values()];
    legend.replaceChildren();
    if (every.length < 2) return;
    const shown = (each) => place._fullData[each.traces[0]].visible === true;
    const show = async (kept) => {
      const all = every.flatMap((each) => each.traces);
      const visible = every.flatMap((each) => each.traces.map(() => kept(each) || "legendonly"));
      await Plotly.restyle(place, { visible }, all);
      every.forEach((each) => each.button.setAttribute("aria-pressed", String(shown(each))));
    };
    every.sort((a, b) => (a.trace.legendrank || 0) - (b.trace.legendrank || 0));
    for (const each of every) {
      each.button = button([sign(each.trace), plainText(each.trace.name)], shown(each), () =>
        show((other) => (other === each ? !shown(each) : shown(other))),
      );
      each.button.addEventListener("dblclick", () => {
        const alone = every.every((other) => shown(other) === (other === each));
        return show((other) => alone || other === each);
      });
      legend.append(each.button);
    }
  };
  // Names are written for plotly, which reads entities.
  const plainText = (name) => new DOMParser().parseFromString(name, "text/html").body.textContent;

  const drawn = () => all(".plot.drawn");
  const recolour = () => drawn().forEach((place) => Plotly.relayout(place, themeOf(place.layout)));
  const near = new IntersectionObserver(
    (seen) => seen.filter((each) => each.isIntersecting).forEach((each) => draw(each.target)),
    { rootMargin: "600px" },
  );
  waiting.forEach((place) => near.observe(place));

  // ---- Print: every figure, light, as wide as the paper, and all as it was afterwards.
  const PAPER = 660;
  const HALF_A_PAGE = 345;
  let before;
  addEventListener("beforeprint", () => {
    if (before !== undefined) return;
    before = root.dataset.theme || "";
    root.dataset.theme = "light";
    [...waiting].forEach(draw);
    drawn().forEach((place) => {
      const height = Math.min(Number(place.dataset.height), HALF_A_PAGE);
      place.style.height = `${height}px`;
      Plotly.relayout(place, { ...themeOf(place.layout), width: PAPER, height });
    });
  });
  addEventListener("afterprint", () => {
    if (before === undefined) return;
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    before = undefined;
    drawn().forEach((place) => {
      const height = Number(place.dataset.height);
      place.style.height = `${height}px`;
      Plotly.relayout(place, { ...themeOf(place.layout), width: null, height, autosize: true });
    });
  });

  // ---- The filter: by what is seen of a token, its id included, and by what it is.
  const filter = one("#filter");
  if (filter) {
    const [text, kind, count] = ["text", "kind", "count"].map((name) => one(`#filter-${name}`));
    const unfiltered = count.textContent;
    const cards = all("#classes .class").map((card) => ({
      card,
      chips: all(".chips li", card).map((chip) => ({
        chip,
        text: chip.textContent,
        lower: chip.textContent.toLowerCase(),
        kind: chip.dataset.kind,
      })),
      more: one(".more", card),
    }));
    const moreClasses = one("#more-classes");
    const opened = new Set();
    // What is looked for must be seen; what was open before stays so.
    const reveal = (details, needed) => {
      if (!details) return;
      if (needed && !details.open) opened.add(details) && (details.open = true);
      if (!needed && opened.delete(details)) details.open = false;
    };
    const apply = () => {
      // A blank is part of a token. A capital is meant: without one, case does not matter.
      const wanted = text.value;
      const key = wanted === wanted.toLowerCase() ? "lower" : "text";
      const active = Boolean(wanted || kind.value);
      let tokens = 0;
      let classes = 0;
      let behindMore = false;
      for (const { card, chips, more } of cards) {
        let here = 0;
        let behind = false;
        for (const each of chips) {
          const kept = each[key].includes(wanted) && (!kind.value || each.kind === kind.value);
          each.chip.hidden = !kept;
          here += kept;
          behind ||= kept && Boolean(more && more.contains(each.chip));
        }
        card.hidden = !here;
        tokens += here;
        classes += here > 0;
        reveal(more, active && behind);
        behindMore ||= here > 0 && Boolean(moreClasses && moreClasses.contains(card));
      }
      reveal(moreClasses, active && behindMore);
      const n = (number, word, words) => `${number.toLocaleString("en")} ${number === 1 ? word : words}`;
      count.textContent = active
        ? `${n(tokens, "token", "tokens")} in ${n(classes, "class", "classes")} of ${unfiltered}`
        : unfiltered;
    };
    filter.hidden = false;
    filter.addEventListener("input", apply);
    filter.addEventListener("submit", (event) => event.preventDefault());
  }

  // ---- Tables that are wider than the screen: what scrolls can be reached and is named.
  const boxes = new ResizeObserver((seen) => {
    for (const { target } of seen) {
      const scrolls = target.scrollWidth > target.clientWidth;
      if (scrolls) target.setAttribute("tabindex", "0");
      else target.removeAttribute("tabindex");
      if (scrolls) target.setAttribute("role", "region");
      else target.removeAttribute("role");
    }
  });
  all(".scroll").forEach((box) => boxes.observe(box));

  // ---- Commands: a button beside each, where the browser lets a page copy.
  if (navigator.clipboard)
    for (const command of all(".command")) {
      const button = made("button", { type: "button", textContent: "Copy" });
      button.setAttribute("aria-label", `Copy: ${one("code", command).textContent}`);
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(one("code", command).textContent);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Not copied";
        }
        setTimeout(() => (button.textContent = "Copy"), 1500);
      });
      command.append(button);
    }
})();
