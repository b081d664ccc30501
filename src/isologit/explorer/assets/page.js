"use strict";
// What the explorer's page does by itself: the theme, the map, copying, saving pictures. What is
// shown at a point comes from the server, and where one is stands in the address alone.
(() => {
  const MOST_SEEN = 64;
  const one = (selector) => document.querySelector(selector);
  const { TokenMap, opened, between, rgb, PLACES, CODES, NO_NUMBER } = window.IsologitMap;
  // Of this page, behind whatever proxy.
  const base = new URL(".", location.href).pathname;

  // ---- Theme: of the system, until the button says otherwise. Nothing is stored.
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const themed = () => {
    const [other, own] = system.matches ? ["light", "dark"] : ["dark", "light"];
    const next = { [other]: own, [own]: "" }[root.dataset.theme || ""] ?? other;
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    one("#theme").textContent = `Theme: ${next || "as the system"}`;
    map?.redraw();
  };
  system.addEventListener("change", () => map?.redraw());

  // ---- Where one is: the address. What is there now has been seen once one goes on.
  const go = (point) => {
    const now = new URLSearchParams(location.search);
    const at = now.get("at") || (here && here.at);
    const seen = (now.get("seen") || "").split("~").filter((each) => each && each !== point && each !== at);
    if (at && at !== point) seen.push(at);
    const parts = [`at=${point}`];
    if (seen.length) parts.push(`seen=${seen.slice(-MOST_SEEN).join("~")}`);
    if (now.get("top")) parts.push(`top=${now.get("top")}`);
    window.dash_clientside.set_props("url", { search: `?${parts.join("&")}` });
  };

  // ---- The map.
  let map;
  let here;
  let legend;
  let by = 0;
  const fetched = async (path, kind) => {
    const answer = await fetch(base + path);
    if (!answer.ok) throw new Error(await answer.text());
    return kind === undefined ? answer.json() : { data: opened(await answer.arrayBuffer(), kind), answer };
  };
  const said = (text) => {
    const place = one("#map-said");
    if (place) place.textContent = text;
  };
  let naming = 0;
  const names = new Map();
  const hovered = (token, event) => {
    clearTimeout(naming);
    const tip = one("#map-tip");
    if (token < 0) {
      tip.hidden = true;
      return;
    }
    const show = () => {
      tip.textContent = `${names.get(token) || "token"} ${token}`;
      tip.hidden = false;
      const box = one("#map").getBoundingClientRect();
      tip.style.left = `${Math.min(event.clientX - box.left + 12, box.width - 160)}px`;
      tip.style.top = `${event.clientY - box.top + 14}px`;
    };
    show();
    if (!names.has(token))
      naming = setTimeout(async () => {
        for (const [id, text] of Object.entries(await fetched(`map/names?ids=${token}`))) names.set(+id, text);
        if (!tip.hidden) show();
      }, 60);
  };
  const key = (parts) => {
    const list = document.createElement("p");
    list.className = "key";
    for (const [colour, text] of parts) {
      const item = document.createElement("span");
      const dot = document.createElement("i");
      dot.style.backgroundColor = colour;
      item.append(dot, text);
      list.append(item);
    }
    return list;
  };
  const count = (n) => n.toLocaleString("en");
  const grouped = (title, groups, codes) => {
    map.colour(codes, groups.map((group) => rgb(group.colour)), groups.map((group) => group.tokens));
    one("#map-key").replaceChildren(key(groups.map((g) => [g.colour, `${g.name} (${count(g.tokens)})`])));
    said(`Every token is a dot, coloured by ${title}; where several lie on each other, the smaller group is seen.`);
  };
  const scaled = (codes, ends) => {
    const { scale, last_step: steps, rest } = legend;
    map.colour(codes, Array.from({ length: 256 }, (_, n) => (n <= steps ? between(scale, n / steps) : rgb(rest))));
    const [low, high] = [scale[0], scale[scale.length - 1]];
    one("#map-key").replaceChildren(key([[low, `logit ${ends.low}`], [high, `logit ${ends.high}`]]));
    said("Every token is a dot, coloured by its logit here, on a linear scale from the least to the largest.");
  };
  const coloured = async () => {
    const chosen = by;
    const at = here && here.at;
    const own = chosen - legend.by.length;
    const path = own < 0 ? `map/groups?by=${chosen}` : `map/${["ties", "logits"][own]}?at=${at}`;
    const { data, answer } = await fetched(path, CODES);
    // Only what is still asked for.
    if (chosen !== by || (own >= 0 && at !== here.at)) return;
    const told = (name) => JSON.parse(answer.headers.get(name));
    if (own < 0) grouped(`${legend.by[chosen].title}, as the audit found it`, legend.by[chosen].groups, data);
    else if (own === 0) grouped("who ties here", told("X-Groups"), data);
    else scaled(data, told("X-Scale"));
  };
  // A place between the tokens of the globe is a direction too.
  const picked = (token, x, y) => {
    if (token >= 0) go(`token:${token}`);
    else if (on === "sphere" && legend.sphere.goes_there && x * x / 4 + y * y < 1) {
      const theta = Math.asin(y);
      const lat = Math.asin((2 * theta + Math.sin(2 * theta)) / Math.PI) * (180 / Math.PI);
      const lon = (((90 * x) / Math.cos(theta) + legend.sphere.middle + 540) % 360) - 180;
      go(`sphere:${+lat.toFixed(3)},${+lon.toFixed(3)}`);
    }
  };
  let on = "axes";
  const placed = async () => {
    const chosen = on;
    const { data } = await fetched(`map/places?on=${chosen}`, PLACES);
    if (chosen === on) map.place(data, chosen === "sphere" ? legend.sphere : undefined);
  };
  const pressable = (choices, each, action) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = each;
    button.className = "choice";
    button.setAttribute("aria-pressed", String(!choices.children.length));
    button.addEventListener("click", () => {
      [...choices.children].forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      action();
    });
    choices.append(button);
  };
  const started = async () => {
    const place = one("#map");
    legend = await fetched("map/legend");
    if (legend.why_not) {
      place.remove();
      said(`There is no map: ${legend.why_not}.`);
      return;
    }
    const { data } = await fetched("map/places", PLACES);
    map = new TokenMap(place, data, { picked, hovered });
    window.isologitMap = map;
    const tip = document.createElement("div");
    tip.id = "map-tip";
    tip.hidden = true;
    place.append(tip);
    const controls = one("#map-controls");
    const choices = document.createElement("div");
    choices.className = "choices";
    choices.setAttribute("role", "group");
    choices.setAttribute("aria-label", "Colour by");
    [...legend.by.map((each) => each.title), "ties here", "logit here"].forEach((title, n) =>
      pressable(choices, title, () => {
        by = n;
        coloured();
      }),
    );
    const maps = document.createElement("div");
    maps.className = "choices";
    maps.setAttribute("role", "group");
    maps.setAttribute("aria-label", "Map");
    for (const name of ["axes", "sphere"])
      pressable(maps, name, () => {
        on = name;
        placed();
      });
    const tools = document.createElement("div");
    tools.className = "choices";
    for (const [text, name, does] of [
      ["+", "Zoom in", () => map.zoom(1.5)],
      ["−", "Zoom out", () => map.zoom(1 / 1.5)],
      ["all", "Show all", () => map.reset()],
    ]) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "choice";
      button.textContent = text;
      button.setAttribute("aria-label", name);
      button.addEventListener("click", does);
      tools.append(button);
    }
    const legendPlace = document.createElement("div");
    legendPlace.id = "map-key";
    controls.replaceChildren(maps, choices, tools, legendPlace);
    await coloured();
    marked();
  };
  const marked = () => {
    if (map && here) map.mark(here.token ?? -1, here.seen.filter((token) => token !== here.token));
  };
  let starting;
  const looked = async (data) => {
    here = data;
    starting ??= started();
    await starting;
    if (!map) return;
    marked();
    if (by >= legend.by.length) await coloured();
  };
  window.dash_clientside = Object.assign(window.dash_clientside || {}, {
    isologit: {
      looked: (data) => {
        if (data) looked(data).catch((error) => said(`The map failed: ${error.message}`));
        return window.dash_clientside.no_update;
      },
    },
  });

  // ---- Buttons. Whatever is on the page when it is pressed.
  const saved = (blob, name) => {
    const way = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    way.click();
    setTimeout(() => URL.revokeObjectURL(way.href), 1000);
  };
  const copied = async (button, text) => {
    const before = button.dataset.said || button.textContent;
    button.dataset.said = before;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => (button.textContent = before), 1500);
  };
  const pressed = {
    theme: themed,
    "copy-command": (button) => copied(button, one("#command").textContent),
    "share-link": (button) => {
      const shown = one("#share-text");
      shown.textContent = location.href;
      shown.parentElement.hidden = false;
      copied(button, location.href);
    },
    "map-png": () => map && map.canvas.toBlob((blob) => saved(blob, "map.png")),
    "histogram-png": () =>
      window.Plotly.downloadImage(one("#histogram .js-plotly-plot"), { format: "png", filename: "histogram", scale: 2 }),
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && pressed[button.id]) pressed[button.id](button);
  });
})();
