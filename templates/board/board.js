"use strict";
(() => {
  const root = document.documentElement, body = document.body;
  const LIVE_MS = 1000, HIDDEN_MS = 15000, LOST_MS = 3000, PATIENCE_MS = 10000;
  const KEY = "alphaf-board-token";
  const said = JSON.parse(body.dataset.spoken);
  const byId = (id) => document.getElementById(id);

  // --- the token: out of the address, so that it stands in no history and on no screen -------------------------
  // Of this tab and this port alone; a page that is blocked from storing has it until it is loaded anew.
  const store = {
    get() { try { return sessionStorage.getItem(KEY); } catch { return null; } },
    set(value) { try { sessionStorage.setItem(KEY, value); } catch { /* told in words by the next load */ } },
    drop() { try { sessionStorage.removeItem(KEY); } catch { /* it was never there */ } },
  };
  const inAddress = new URLSearchParams(location.search).get("token");
  if ("locked" in body.dataset) {
    const kept = store.get();
    store.drop(); // so that one that is no longer right is tried once
    if (kept && !inAddress) location.replace(`/?token=${encodeURIComponent(kept)}`);
  } else if (inAddress) {
    store.set(inAddress);
    history.replaceState(null, "", "/");
  }
  const token = inAddress ?? "";

  // --- words, in both languages; the style shows one ------------------------------------------------------------
  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "class") made.className = value; else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const both = (text) => {
    if (!text) return "";
    if (typeof text === "string") return text;
    if (text.ko === text.en) return text.en;
    const made = document.createDocumentFragment();
    for (const lang of ["ko", "en"]) made.append(make("span", { lang }, text[lang]));
    return made;
  };
  const word = (name) => both(said.words[name]);
  const plain = (text) => (typeof text === "string" ? text : text[root.dataset.lang]);
  const own = (texts, name) => (Object.hasOwn(texts, name) ? texts[name] : undefined); // a name comes from a file
  const named = (kind, name) => own(said[kind], name) ?? name;

  const TONES = {
    done: "good", working: "info", running: "info", failed: "bad", damaged: "bad", interrupted: "warn",
    cancelled: "warn", queued: "warn", requeued: "warn",
  };
  const MARKS = { good: "✓ ", bad: "✕ ", info: "▶ ", warn: "‖ " };
  const state = (name) => {
    const tone = own(TONES, name) ?? "";
    const mark = own(MARKS, tone) ? make("span", { "aria-hidden": "true" }, MARKS[tone]) : null;
    return make("span", { class: `state ${tone}` }, mark, both(named("states", name)));
  };

  // --- figures ---------------------------------------------------------------------------------------------------
  const number = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
    return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4);
  };
  const clock = (seconds) => {
    const whole = Math.max(0, Math.round(seconds)), two = (n) => String(n).padStart(2, "0");
    const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  };
  const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  // Made once: a formatter takes longer to make than a row.
  const formats = Object.fromEntries(Object.entries({ ko: "ko", en: "en-GB" }).map(([lang, locale]) => [lang, {
    time: new Intl.DateTimeFormat(locale, { timeStyle: "medium" }),
    day: new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }),
  }]));
  const local = (moment) => {
    if (Number.isNaN(moment.getTime())) return "";
    const kind = moment.toDateString() === new Date().toDateString() ? "time" : "day";
    return both({ ko: formats.ko[kind].format(moment), en: formats.en[kind].format(moment) });
  };
  const when = (iso) => (iso ? make("time", { datetime: iso }, local(new Date(iso))) : "");

  // --- asking; a laptop that slept, or a tunnel that is gone, is asked again until it answers --------------------
  const tags = new Map(), kept = new Map();
  class Refused extends Error {}
  async function ask(path, tagged = true) {
    const headers = { Authorization: `Bearer ${token}` };
    if (tagged && tags.has(path)) headers["If-None-Match"] = tags.get(path);
    const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 304) return kept.get(path);
    if (answer.status === 403) throw new Refused();
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    const value = await answer.json();
    if (tagged && answer.headers.get("etag")) {
      tags.set(path, answer.headers.get("etag"));
      kept.set(path, value);
    }
    return value;
  }
  const query = (path, values) => `${path}?${new URLSearchParams(values)}`;

  // --- curves: the points that are known, and those behind them --------------------------------------------------
  const curves = new Map();
  async function curve(run, stage) {
    const key = `${run}\n${stage}`, known = curves.get(key) ?? { at: "", points: [] };
    const found = await ask(query("/api/curve", { run, stage, at: known.at }), false);
    const points = found.anew ? found.points : [...known.points, ...found.points];
    curves.set(key, { at: found.at, points });
    return points;
  }

  const SVG = "http://www.w3.org/2000/svg";
  const shape = (tag, attributes, text) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const steps = (low, high, most) => {
    if (!(high > low)) return [low];
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? Infinity;
    const first = Math.ceil(low / step), found = [];
    // Counted, for between two huge numbers a step may come to nothing.
    for (let i = 0; i <= 2 * most && (first + i) * step <= high + step / 1e6; i += 1) found.push(Number(((first + i) * step).toPrecision(12)));
    found.digits = Number.isFinite(step) ? Math.max(0, -Math.floor(Math.log10(step))) : 9;
    return found;
  };
  // What of more points than the plot is wide would be drawn over each other is left out.
  const thinned = (points, most = 600) => {
    if (points.length <= most) return points;
    const every = points.length / most;
    return [...Array.from({ length: most }, (_, i) => points[Math.floor(i * every)]), points.at(-1)];
  };
  function plot(points, names) {
    const lines = names
      .map((name, i) => ({ name, style: `s${i + 1}`, points: thinned(points.filter((p) => name in p[1]).map((p) => [p[0], p[1][name]])) }))
      .filter((line) => line.points.length);
    if (!lines.length) return null;
    const W = 520, H = 170, L = 52, R = 10, T = 8, B = 22;
    const xs = lines.flatMap((line) => line.points.map((p) => p[0])), ys = lines.flatMap((line) => line.points.map((p) => p[1]));
    const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1);
    let y0 = Math.min(...ys), y1 = Math.max(...ys);
    if (y0 === y1) { const room = Math.abs(y0) * 0.1 || 1; y0 -= room; y1 += room; }
    const x = (v) => L + ((v - x0) / (x1 - x0)) * (W - L - R), y = (v) => H - B - ((v - y0) / (y1 - y0)) * (H - T - B);
    const last = lines.map((line) => `${plain(named("figures", line.name))} ${number(line.points.at(-1)[1])}`).join(", ");
    const svg = shape("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${last} (${plain(said.words.at_step)} ${xs.reduce((a, b) => Math.max(a, b))})` });
    svg.dataset.points = lines[0].points.length;
    svg.dataset.last = Math.max(...xs);
    const heights = steps(y0, y1, 4);
    const height = (v) => (heights.digits <= 4 && Math.abs(v) < 1e6 ? v.toFixed(heights.digits) : number(v)); // all alike
    for (const v of heights) {
      svg.append(shape("line", { class: "grid", x1: L, x2: W - R, y1: y(v), y2: y(v) }));
      svg.append(shape("text", { x: L - 6, y: y(v) + 4, "text-anchor": "end" }, height(v)));
    }
    for (const v of steps(x0, x1, 6)) {
      if (Number.isInteger(v)) svg.append(shape("text", { x: x(v), y: H - 6, "text-anchor": "middle" }, v.toLocaleString("en")));
    }
    for (const line of lines) {
      const way = line.points.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`);
      svg.append(shape("polyline", { class: line.style, points: way.join(" ") }));
      const [cx, cy] = way.at(-1).split(",");
      svg.append(shape("circle", { class: line.style, cx, cy, r: 3 }));
    }
    const caption = make("figcaption", {}, ...lines.map((line) => make("span", { class: `swatch ${line.style}` }, both(named("figures", line.name)), ` ${number(line.points.at(-1)[1])}`)));
    return make("figure", {}, caption, svg);
  }
  const MAIN = ["loss", "eval_loss"];
  const OTHERS = [["rewards/margins"], ["rewards/accuracies"], ["learning_rate"], ["grad_norm"], ["tokens_per_s"]];
  function drawn(into, points) {
    const main = plot(points, MAIN), more = OTHERS.map((names) => plot(points, names)).filter(Boolean);
    const open = into.querySelector("details")?.open ?? false;
    const rest = more.length ? make("details", { open }, make("summary", {}, word("curves")), ...more) : null;
    into.replaceChildren(...[main, rest].filter(Boolean));
  }

  // --- what is worked on -----------------------------------------------------------------------------------------
  const put = (into, ...children) => {
    const made = make("div", {}, ...children);
    if (made.innerHTML !== into.innerHTML) into.replaceChildren(...made.childNodes); // else a reader would be interrupted
  };
  const fact = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value));
  const finding = (each) => make("p", { class: "finding" }, word("at_step"), ` ${each.step}: `, both(own(said.findings, each.kind) ?? each.what));
  const cards = new Map(), TRAININGS = ["sft", "dpo"];

  function card(key, run, stage) {
    const made = {
      top: make("h3", {}, run, " · ", both(named("stages", stage))),
      side: make("span", { class: "side" }), told: make("p", { class: "quiet" }), bar: make("progress", {}),
      facts: make("dl", { class: "facts" }), findings: make("div", {}), curve: make("div", { class: "curve" }),
      log: make("pre", { class: "log", tabindex: "0" }), at: "", drawing: false,
    };
    const id = `card-${cards.size}-${Date.now()}`;
    made.top.id = id;
    made.bar.setAttribute("aria-labelledby", id);
    if ("control" in body.dataset) made.side.append(stopper(run));
    made.element = make("article", { class: "card", "aria-labelledby": id, "data-run": run, "data-stage": stage },
      make("div", { class: "top" }, made.top, made.side), made.bar, made.told, made.facts, made.findings, made.curve,
      make("details", {}, make("summary", {}, word("log")), made.log));
    cards.set(key, made);
    return made;
  }
  function stopper(run) {
    const button = make("button", { type: "button", class: "stop" }, word("stop"));
    button.addEventListener("click", async () => {
      if (!confirm(`${run}: ${plain(said.words.stop_sure)}`)) return;
      button.disabled = true;
      try {
        const answer = await fetch("/api/stop", {
          method: "POST", body: JSON.stringify({ run }), signal: AbortSignal.timeout(PATIENCE_MS),
          headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
        });
        if (!answer.ok) throw new Error((await answer.json()).what);
        button.replaceChildren(word("stopping"));
      } catch (error) {
        button.disabled = false;
        alert(`${run}: ${error.message}`);
      }
    });
    return button;
  }

  function work(each) {
    const key = `${each.run}\n${each.stage}`;
    const view = cards.get(key) ?? card(key, each.run, each.stage);
    if (!view.element.isConnected) byId("now").append(view.element);
    const { step, max_steps: all, figures } = each;
    if (step === null || all === null) view.bar.removeAttribute("value");
    else { view.bar.max = all || 1; view.bar.value = step; }
    view.bar.hidden = step === null && each.quiet_s !== null;
    const before = TRAININGS.includes(each.stage) ? word("no_step") : (each.log.at(-1) ?? ""); // others take no steps
    const where = step === null ? before : make("span", {}, word("step"), " ", make("span", { class: "step" }, `${step}${all === null ? "" : ` / ${all}`}`));
    put(view.told, where, each.holder ? make("span", {}, " · ", word("held"), `: ${each.holder}`) : null,
      each.stopping ? make("strong", {}, " · ", word("stopping")) : null,
      each.quiet_s !== null ? make("strong", {}, " · ", word("quiet"), ` ${clock(each.quiet_s)}`) : null);
    const facts = [];
    for (const name of ["loss", "eval_loss", "rewards/margins", "rewards/accuracies", "tokens_per_s"]) {
      if (name in figures) facts.push(fact(both(named("figures", name)), number(figures[name])));
    }
    if (each.eta_s !== null) {
      facts.push(fact(word("eta"), clock(each.eta_s)));
      if (each.time !== null) facts.push(fact(word("ends"), local(new Date((each.time + each.eta_s) * 1000))));
    }
    if (each.since) facts.push(fact(word("since"), when(each.since)));
    put(view.facts, ...facts);
    put(view.findings, ...each.findings.map(finding));
    const bottom = view.log.scrollTop + view.log.clientHeight >= view.log.scrollHeight - 8;
    const text = each.log.join("\n");
    if (view.log.textContent !== text) view.log.textContent = text;
    if (bottom) view.log.scrollTop = view.log.scrollHeight;
    if (each.at !== view.at) redraw(view, each);
    return key;
  }
  async function redraw(view, each) {
    if (view.drawing) return; // the next look draws what is newer
    view.drawing = true;
    try {
      drawn(view.curve, await curve(each.run, each.stage));
      view.at = each.at;
    } catch { /* told by the next look, which asks again */ } finally {
      view.drawing = false;
    }
  }

  function live(found) {
    const there = new Set(found.working.map(work));
    for (const [key, view] of cards) {
      if (there.has(key)) continue;
      view.element.remove();
      cards.delete(key);
    }
    const nothing = byId("nothing");
    nothing.hidden = there.size > 0;
    put(nothing, byId("nothing-text").content.cloneNode(true));
    const gpus = found.cards.map((gpu, i) => make("li", {}, make("strong", {}, `${i}: ${gpu.name}`), make("div", {}, word("memory"), ` ${gib(gpu.used)} / ${gib(gpu.memory)}`),
      gpu.busy === null ? null : make("div", {}, word("busy"), ` ${gpu.busy}% `, make("meter", { min: 0, max: 100, value: gpu.busy, "aria-label": `GPU ${i}: ${gpu.busy}%` }))));
    put(byId("gpus"), ...(gpus.length ? gpus : [make("li", { class: "quiet" }, word("no_gpu"), found.no_cards ? `: ${found.no_cards}` : "")]));
  }

  // --- the lists -------------------------------------------------------------------------------------------------
  const links = (pages, text) => pages.map((page) => make("a", { href: page.href, target: "_blank", rel: "noopener" }, text && page.name === "report.html" ? word("report") : page.name));
  const wrong = (each) => (each.damage ? [make("p", { class: "wrong" }, each.damage), make("p", { class: "quiet" }, word("fix"), `: ${each.fix}`)] : []);
  const opened = new Set();
  const rows = new Map();

  function stagesTold(run) {
    const tell = (stage) => make("span", {}, both(named("stages", stage.name)), " ", both(named("states", stage.state)));
    const left = run.stages.filter((stage) => stage.state !== "done");
    const done = run.stages.length - left.length;
    if (!run.stages.length) return "";
    const parts = [make("span", {}, `${done} / ${run.stages.length} `, both(said.states.done))];
    for (const stage of left) parts.push(" · ", tell(stage));
    return make("span", {}, ...parts);
  }
  function row(run) {
    const text = JSON.stringify(run), before = rows.get(run.name);
    if (before?.text === text) return before.element;
    const toggle = make("button", { type: "button", "aria-expanded": String(opened.has(run.name)) }, word(opened.has(run.name) ? "hide" : "details"));
    toggle.setAttribute("aria-label", `${run.name}: ${plain(said.words.details)}`);
    const more = make("div", { class: "more", hidden: true });
    const element = make("div", { class: "row", "data-run": run.name, "data-state": run.state, role: "group", "aria-label": run.name },
      make("div", { class: "line" }, make("span", { class: "name" }, run.name), state(run.state), make("span", { class: "quiet" }, run.base),
        make("span", { class: "quiet" }, when(run.created)), make("span", { class: "links" }, ...links(run.pages, true), toggle)),
      make("div", { class: "quiet" }, stagesTold(run)), ...wrong(run), more);
    const show = () => {
      const open = opened.has(run.name);
      toggle.setAttribute("aria-expanded", String(open));
      toggle.replaceChildren(word(open ? "hide" : "details"));
      more.hidden = !open;
      if (open) details(more, run); else more.replaceChildren();
    };
    toggle.addEventListener("click", () => { opened.has(run.name) ? opened.delete(run.name) : opened.add(run.name); show(); });
    const focused = before?.element.contains(document.activeElement) && document.activeElement.tagName === "BUTTON";
    if (before?.element.isConnected) before.element.replaceWith(element);
    rows.set(run.name, { text, element });
    if (opened.has(run.name)) show();
    if (focused) toggle.focus();
    return element;
  }
  function details(into, run) {
    const lines = run.stages.map((stage) => {
      const log = make("button", { type: "button" }, word("log"));
      log.setAttribute("aria-label", `${stage.name}: ${plain(said.words.log)}`);
      const shown = make("pre", { class: "log", tabindex: "0", hidden: true });
      log.addEventListener("click", async () => {
        shown.hidden = !shown.hidden;
        if (shown.hidden) return;
        try {
          const found = await ask(query("/api/log", { run: run.name, stage: stage.name }), false);
          shown.replaceChildren(found.length ? found.join("\n") : word("no_log"));
          shown.scrollTop = shown.scrollHeight;
        } catch { shown.replaceChildren(word("unanswered")); }
      });
      return make("tr", {}, make("td", {}, both(named("stages", stage.name))), make("td", {}, state(stage.state)),
        make("td", {}, stage.seconds === null ? "" : clock(stage.seconds)), make("td", {}, when(stage.started)),
        make("td", {}, stage.job ? make("p", { class: "quiet" }, stage.job) : null, stage.told ? make("p", { class: "wrong" }, stage.told) : null, ...stage.findings.map(finding), log, shown));
    });
    const head = make("tr", {}, ...["stage", "state", "time", "since", "why"].map((name) => make("th", { scope: "col" }, word(name))));
    into.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
    for (const stage of run.stages.filter((each) => TRAININGS.includes(each.name))) {
      const place = make("div", { class: "curve" });
      into.append(make("h3", {}, both(named("stages", stage.name))), place);
      curve(run.name, stage.name).then((points) => drawn(place, points), () => place.append(word("unanswered")));
    }
  }
  const arms = (each) => Object.entries(each.arms).map(([name, how]) => make("span", {}, `${name} `, state(how)));
  const experiment = (each) => make("div", { class: "row", role: "group", "aria-label": each.name, "data-experiment": each.name },
    make("div", { class: "line" }, make("span", { class: "name" }, each.name), each.damage ? state("damaged") : make("span", { class: "quiet" }, both(named("kinds", each.kind))),
      make("span", { class: "quiet" }, Object.keys(each.arms).length ? `${Object.values(each.arms).filter((how) => how === "done").length} / ${Object.keys(each.arms).length} ` : "", word("arms")),
      make("span", { class: "quiet" }, when(each.created)), make("span", { class: "links" }, ...links(each.pages, true))),
    make("div", { class: "arms" }, ...arms(each)), ...wrong(each));

  let everything = null;
  function list() {
    if (!everything) return;
    const asked = byId("filter").value.trim().toLowerCase();
    const fits = (run) => !asked || [run.name, run.base, run.state, ...Object.values(named("states", run.state))].some((text) => text.toLowerCase().includes(asked));
    const shown = everything.runs.filter(fits);
    const elements = shown.map(row), into = byId("runs");
    // What stands right stays, so that nobody's place is lost.
    if (into.children.length !== elements.length || elements.some((each, i) => into.children[i] !== each)) into.replaceChildren(...elements);
    byId("count").textContent = shown.length === everything.runs.length ? `${shown.length}` : `${shown.length} / ${everything.runs.length}`;
    byId("none-match").hidden = shown.length > 0 || !everything.runs.length;
    put(byId("none-match"), word("none_match"));
    byId("filter-row").hidden = everything.runs.length < 2;
  }
  function whole(found) {
    everything = found;
    byId("root").textContent = found.root;
    byId("no-runs").hidden = found.runs.length > 0;
    byId("experiments-section").hidden = !found.experiments.length;
    put(byId("experiments"), ...found.experiments.map(experiment));
    put(byId("root-pages"), ...links(found.pages, false));
    const there = new Set(found.runs.map((run) => run.name));
    for (const name of rows.keys()) if (!there.has(name)) rows.delete(name);
    list();
  }

  // --- the loop --------------------------------------------------------------------------------------------------
  let version = "", timer = 0, busy = false, last = null;
  function connection(lost, text) {
    byId("connection").className = lost ? "bad" : "";
    put(byId("connection"), ...text);
  }
  async function look() {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    let pause = document.hidden ? HIDDEN_MS : LIVE_MS;
    try {
      const all = version ? null : ask("/api/state"); // at the first look both at once
      const found = await ask("/api/live");
      if (found.version !== version) {
        whole(await (all ?? ask("/api/state")));
        version = found.version;
      }
      live(found);
      last = new Date();
      connection(false, [word("connected")]);
      body.dataset.ready = "";
    } catch (error) {
      if (error instanceof Refused) {
        connection(true, [word("over")]);
        pause = HIDDEN_MS;
      } else {
        connection(true, [word("lost"), " ", last ? local(last) : "–"]);
        pause = LOST_MS;
        console.warn(error);
      }
    } finally {
      busy = false;
      timer = setTimeout(look, pause);
    }
  }

  // --- language and light ----------------------------------------------------------------------------------------
  const kept_choice = (name, value) => {
    try { if (value !== undefined) localStorage.setItem(`alphaf-board-${name}`, value); return localStorage.getItem(`alphaf-board-${name}`); } catch { return null; }
  };
  const speak = (language) => { root.dataset.lang = root.lang = language; };
  speak(kept_choice("language") ?? (navigator.language.startsWith("ko") ? "ko" : "en"));
  const theme = kept_choice("theme");
  if (theme) root.dataset.theme = theme;
  byId("language").addEventListener("click", () => { speak(root.dataset.lang === "ko" ? "en" : "ko"); kept_choice("language", root.dataset.lang); });
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept_choice("theme", root.dataset.theme);
  });

  if (!("locked" in body.dataset)) {
    byId("filter").addEventListener("input", list);
    for (const event of ["visibilitychange", "online", "pageshow"]) {
      (event === "visibilitychange" ? document : window).addEventListener(event, () => { if (!document.hidden) look(); });
    }
    look();
  }
})();
