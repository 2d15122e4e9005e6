"use strict";
(() => {
  document.body.classList.remove("scripts-off");
  const data = JSON.parse(document.getElementById("data").textContent);
  const W = 640, H = 300, LEFT = 62, RIGHT = 12, TOP = 12, BOTTOM = 38, READ = 6;
  const SVG = document.documentElement.querySelector("svg")?.namespaceURI;

  const element = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const short = (value) => {
    const rounded = Number(value.toPrecision(4));
    if (rounded && Math.abs(rounded) < 0.001) return rounded.toExponential();
    return rounded.toLocaleString("en", { maximumSignificantDigits: 4 });
  };

  const scored = (name, value) => (name === "right" ? (value ? "right" : "wrong") : `${name} ${value}`);

  // Round numbers between two ends; updates are whole ones.
  const ticks = (low, high, whole = false) => {
    const raw = (high - low) / 6, power = 10 ** Math.floor(Math.log10(raw));
    const step = Math.max([1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999), whole ? 1 : 0);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i <= high / step + 1e-9; i++) found.push(i * step);
    return found;
  };

  // Round numbers between two powers of ten, as powers.
  const logTicks = (low, high) => {
    const found = [], powers = [];
    for (let e = Math.floor(low); e <= Math.ceil(high); e++) {
      for (const m of [1, 2, 5]) {
        const v = Math.log10(m) + e;
        if (low <= v && v <= high) found.push(v);
      }
      if (low <= e && e <= high) powers.push(e);
    }
    if (found.length < 2) return ticks(low, high);
    const every = Math.ceil(powers.length / 8);
    return found.length > 8 ? powers.filter((_, i) => i % every === 0) : found;
  };

  // A picture of curves: drag to zoom, move or use arrow keys to read.
  const chart = (svg) => {
    const { log, lines, ends } = data.charts[Number(svg.dataset.chart)];
    const figure = svg.closest("figure"), read = figure.querySelector(".read"), whole = figure.querySelector(".whole");
    const steps = [...new Set(lines.flatMap((one) => one.x))].sort((a, b) => a - b);
    let [left, right, low, high] = ends, at = null, from = null;
    const up = (y) => (log ? Math.log10(y) : y);
    const X = (x) => LEFT + ((x - left) / (right - left)) * (W - LEFT - RIGHT);
    const Y = (y) => H - BOTTOM - ((y - low) / (high - low)) * (H - TOP - BOTTOM);
    const back = (px) => left + ((px - LEFT) / (W - LEFT - RIGHT)) * (right - left);
    const inside = (event) => {
      const box = svg.getBoundingClientRect();
      return Math.min(W - RIGHT, Math.max(LEFT, ((event.clientX - box.left) / box.width) * W));
    };
    const cursor = element("path", { class: "cursor", d: "" }), band = element("rect", { class: "band", y: TOP, height: H - TOP - BOTTOM, width: 0 });
    svg.append(cursor, band);

    // The points of a line between a and b, and where it crosses them.
    const part = ({ x, y }, a, b) => {
      const found = [];
      x.forEach((v, k) => {
        for (const edge of [a, b]) {
          if (k && x[k - 1] < edge && edge < v) found.push([edge, up(y[k - 1]) + ((edge - x[k - 1]) / (v - x[k - 1])) * (up(y[k]) - up(y[k - 1]))]);
        }
        if (v >= a && v <= b) found.push([v, up(y[k])]);
      });
      return found;
    };
    const draw = () => {
      const axes = svg.querySelector(".axes");
      axes.replaceChildren();
      for (const v of ticks(left, right, true)) {
        axes.append(element("path", { class: "grid", d: `M${X(v)} ${TOP}V${H - BOTTOM}` }), element("text", { x: X(v), y: H - BOTTOM + 15, "text-anchor": X(v) > W - 30 ? "end" : "middle" }, short(v)));
      }
      for (const v of (log ? logTicks : ticks)(low, high)) {
        axes.append(element("path", { class: "grid", d: `M${LEFT} ${Y(v)}H${W - RIGHT}` }), element("text", { x: LEFT - 6, y: Y(v) + 4, "text-anchor": "end" }, short(log ? 10 ** v : v)));
      }
      svg.querySelectorAll(".lines path").forEach((path, i) => {
        const seen = part(lines[i], left, right);
        path.setAttribute("d", seen.length ? "M" + seen.map(([x, y]) => `${X(x).toFixed(1)} ${Y(y).toFixed(1)}`).join("L") : "");
      });
      whole.hidden = left === ends[0] && right === ends[1];
    };
    const zoom = (a, b) => {
      const seen = lines.flatMap((line) => part(line, a, b)).map((point) => point[1]);
      if (seen.length < 2 || b <= a) return;
      const bottom = Math.min(...seen), top = Math.max(...seen), room = (top - bottom) * 0.05 || Math.abs(top) * 0.05 || 1;
      [left, right, low, high] = [a, b, bottom - room, top + room];
      draw();
      if (at !== null) show(at);
    };
    const all = () => { [left, right, low, high] = ends; draw(); };
    // Of very many lines those are read out that the pointer is nearest to.
    const show = (step, py = null) => {
      at = step;
      cursor.setAttribute("d", step >= left && step <= right ? `M${X(step)} ${TOP}V${H - BOTTOM}` : "");
      const values = lines.filter(({ x }) => x[0] <= step && step <= x[x.length - 1]).map(({ label, x, y }) => {
        let near = 0;
        x.forEach((v, k) => { if (Math.abs(v - step) < Math.abs(x[near] - step)) near = k; });
        return { text: `${label} ${short(y[near])}`, far: py === null ? 0 : Math.abs(Y(up(y[near])) - py) };
      });
      if (values.length > READ) values.sort((one, other) => one.far - other.far);
      const more = values.length > READ ? ` · and ${values.length - READ} more` : "";
      read.textContent = `update ${step.toLocaleString("en")}: ${values.slice(0, READ).map((one) => one.text).join(" · ")}${more}`;
    };
    const nearest = (x) => steps.reduce((best, v) => (Math.abs(v - x) < Math.abs(best - x) ? v : best), steps[0]);

    svg.setAttribute("tabindex", "0");
    svg.addEventListener("pointerdown", (event) => { from = inside(event); svg.setPointerCapture(event.pointerId); });
    svg.addEventListener("pointermove", (event) => {
      const px = inside(event);
      const box = svg.getBoundingClientRect();
      show(nearest(back(px)), ((event.clientY - box.top) / box.height) * H);
      if (from !== null) { band.setAttribute("x", Math.min(from, px)); band.setAttribute("width", Math.abs(px - from)); }
    });
    const end = (event) => {
      if (from === null) return;
      const px = inside(event), [a, b] = [back(Math.min(from, px)), back(Math.max(from, px))];
      const far = Math.abs(px - from) > 12;
      from = null;
      band.setAttribute("width", 0);
      if (far && event.type === "pointerup") zoom(a, b);
    };
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
    svg.addEventListener("pointerleave", () => { if (from === null) { cursor.setAttribute("d", ""); read.textContent = ""; } });
    svg.addEventListener("dblclick", all);
    whole.addEventListener("click", () => { all(); svg.focus(); });
    svg.addEventListener("keydown", (event) => {
      const seen = steps.filter((v) => v >= left && v <= right), place = seen.indexOf(at);
      const middle = at !== null && place >= 0 ? at : (left + right) / 2, quarter = (right - left) / 4;
      if (event.key === "ArrowRight") show(seen[Math.min(seen.length - 1, place + 1)]);
      else if (event.key === "ArrowLeft") show(seen[place < 0 ? seen.length - 1 : Math.max(0, place - 1)]);
      else if (event.key === "+" || event.key === "=") zoom(Math.max(ends[0], middle - quarter), Math.min(ends[1], middle + quarter));
      else if (event.key === "-") zoom(Math.max(ends[0], middle - 4 * quarter), Math.min(ends[1], middle + 4 * quarter));
      else if (event.key === "0") all();
      else return;
      event.preventDefault();
    });
  };

  // The examples of a file: found, parted, sorted; shown a few at a time.
  const examples = (section) => {
    const { rows, scores, examples: known } = data.samples[Number(section.dataset.samples)];
    const form = section.querySelector("form"), list = section.querySelector(".list"), more = section.querySelector(".more");
    const told = form.querySelector("output");
    const STEP = 24;
    let most = 8;
    const part = (parent, name, text) => {
      const made = document.createElement(name);
      made.textContent = text;
      parent.append(made);
      return made;
    };
    const card = (one) => {
      const article = document.createElement("article");
      part(article, "h4", `Example ${one.id}`);
      const dl = part(article, "dl", "");
      for (const name of ["given", "expected"]) {
        if (one[name] !== null) { part(dl, "dt", name); part(dl, "dd", one[name]); }
      }
      rows.forEach((label, i) => {
        part(dl, "dt", label);
        const dd = part(dl, "dd", one.said[i] === null ? "" : `${one.said[i]} `);
        const values = scores.map((name, k) => (one.scores[i][k] === null ? "" : scored(name, one.scores[i][k])));
        part(dd, "small", values.filter(Boolean).join(" · "));
      });
      return article;
    };
    const mean = (one, k) => {
      const found = one.scores.map((row) => row[k]).filter((v) => v !== null);
      return found.length ? found.reduce((a, b) => a + b, 0) / found.length : NaN;
    };
    const last = (v, sign) => (Number.isNaN(v) ? Infinity : sign * v);
    const within = (v, bounds) => {
      if (!bounds) return true;
      const [low, high] = bounds.split(",");
      return v >= Number(low) && (high === "" || v <= Number(high));
    };
    const show = () => {
      const { find, words, rarest, sort } = Object.fromEntries(new FormData(form));
      const wanted = find.toLowerCase();
      const found = known.filter((one) => within(one.words, words) && within(one.rarest, rarest)
        && (!wanted || [one.given, one.expected, ...one.said].some((text) => text !== null && text.toLowerCase().includes(wanted))));
      const k = Number(sort.slice(1));
      const by = { a: (o) => -o.apart[k], l: (o) => last(mean(o, k), 1), h: (o) => last(mean(o, k), -1), i: (o) => o.id }[sort[0]];
      if (by) found.sort((a, b) => by(a) - by(b) || a.id - b.id);
      list.replaceChildren(...found.slice(0, most).map(card));
      told.textContent = `${Math.min(most, found.length)} of ${found.length}`;
      more.hidden = found.length <= most;
    };
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { most = 8; show(); });
    more.addEventListener("click", () => { most += STEP; show(); });
    show();
  };

  // On paper nothing can be opened; configurations stay shut, they are long.
  addEventListener("beforeprint", () => document.querySelectorAll("#runs > details, #runs > .row > details").forEach((one) => { one.open = true; }));
  document.querySelectorAll("svg[data-chart]").forEach((svg) => { svg.setAttribute("role", "application"); chart(svg); });
  document.querySelectorAll("section[data-samples]").forEach(examples);
})();
