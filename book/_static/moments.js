/* Moments: controls for the figures that a reader can move. Made by pdlib/moments.py, which embeds the numbers; what
   is shown here is computed from them in the browser, with the formulas of pdlib/metrics.py. Nothing is loaded. */
(() => {
  "use strict";
  let made = 0;

  // ── elements ──────────────────────────────────────────────────────────────────────────────────────────
  function make(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  const html = (tag, attributes = {}, ...children) => make(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    make(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  const plain = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : "not defined");
  const share = (value, digits = 1) => plain(100 * value, digits) + (Number.isFinite(value) ? "\u00a0%" : "");
  const indices = (list) => list.map((_, index) => index);

  /* A slider with its label and its value in words; `moved` is called on every step. */
  function slider(label, range, words, moved) {
    const id = `pd-slider-${(made += 1)}`;
    const input = html("input", { type: "range", id, autocomplete: "off", ...range });
    const value = html("span", { class: "pd-value", "aria-hidden": "true" });
    const show = () => {
      value.textContent = words(Number(input.value));
      input.setAttribute("aria-valuetext", value.textContent);
    };
    input.addEventListener("input", () => { show(); moved(); });
    show();
    return {
      row: html("div", { class: "pd-control" }, html("label", { for: id }, label), value, input),
      input,
      get value() { return Number(input.value); },
      set value(to) { input.value = to; show(); },
    };
  }

  function choice(label, names, moved) {
    const id = `pd-choice-${(made += 1)}`;
    const options = names.map((name, at) => html("option", { value: at }, name));
    const select = html("select", { id, autocomplete: "off" }, ...options);
    select.addEventListener("change", moved);
    const row = html("div", { class: "pd-control" }, html("label", { for: id }, label), select);
    row.hidden = names.length < 2;
    return { row, get value() { return Number(select.value); } };
  }

  function table(caption, heads, rows) {
    const head = html("tr", {}, ...heads.map((text) => html("th", { scope: "col" }, text)));
    const body = rows.map(([name, ...cells]) =>
      html("tr", {}, html("th", { scope: "row" }, name), ...cells.map((text) => html("td", {}, String(text)))));
    return html("table", {}, html("caption", {}, caption), html("thead", {}, head), html("tbody", {}, ...body));
  }

  /* A plot of the unit square or another range, with axes; returns the drawing and its two scales. */
  function plot(label, size, x, y) {
    const box = { left: 46, top: 10, width: 250, height: size };
    const across = (value) => box.left + ((value - x.low) / (x.high - x.low)) * box.width;
    const up = (value) => box.top + box.height - ((value - y.low) / (y.high - y.low)) * box.height;
    const bottom = box.top + box.height;
    const drawing = svg("svg", { viewBox: `0 0 310 ${bottom + 40}`, role: "img", "aria-label": label, class: "pd-plot" });
    drawing.append(svg("path", { class: "pd-axis", d: `M${box.left} ${box.top}V${bottom}H${box.left + box.width}` }));
    for (const tick of x.ticks) {
      drawing.append(svg("text", { x: across(tick), y: bottom + 15, "text-anchor": "middle" }, String(tick)));
    }
    for (const tick of y.ticks) {
      drawing.append(svg("text", { x: box.left - 6, y: up(tick) + 4, "text-anchor": "end" }, String(tick)));
    }
    const middle = box.top + box.height / 2;
    drawing.append(svg("text", { x: box.left + box.width / 2, y: bottom + 33, "text-anchor": "middle" }, x.label));
    drawing.append(svg("text", { transform: `translate(12 ${middle}) rotate(-90)`, "text-anchor": "middle" }, y.label));
    const layer = svg("g");
    drawing.append(layer);
    return { drawing, layer, across, up };
  }

  const square = (x, y, r, kind) => svg("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, class: kind });
  const circle = (x, y, r, kind) => svg("circle", { cx: x, cy: y, r, class: kind });
  const triangle = (x, y, r, kind) => svg("path", { d: `M${x} ${y - r}L${x + r} ${y + r}H${x - r}Z`, class: kind });
  const diamond = (x, y, r, kind) =>
    svg("path", { d: `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`, class: kind });
  const unit = (label) => ({ low: 0, high: 1, ticks: [0, 0.5, 1], label });

  // ── counts and metrics, as in pdlib/metrics.py and pdlib/confounding.py ─────────────────────────────────
  const ratio = (part, whole) => (whole > 0 ? part / whole : NaN);

  function confusion(labels, called) {
    const count = (label, call) => labels.filter((own, at) => own === label && called(at) === call).length;
    return { tp: count(1, true), fn: count(1, false), fp: count(0, true), tn: count(0, false) };
  }

  function rates({ tp, fn, fp, tn }, prevalence) {
    const recall = ratio(tp, tp + fn), specificity = ratio(tn, tn + fp);
    const found = recall * prevalence, alarms = (1 - specificity) * (1 - prevalence);
    return {
      accuracy: ratio(tp + tn, tp + fn + fp + tn), precision: ratio(tp, tp + fp), recall, specificity,
      f1: ratio(2 * tp, 2 * tp + fp + fn), predictive: ratio(found, found + alarms), alarms: ratio(alarms, found),
    };
  }

  /* Share of PD–HC pairs in which the PD speaker is higher, ties half, with Hanley and McNeil's interval. */
  function auc(pd, hc) {
    if (!pd.length || !hc.length) return { value: NaN, low: NaN, high: NaN };
    const wins = pd.reduce((sum, a) => sum + hc.reduce((own, b) => own + (a > b ? 1 : a === b ? 0.5 : 0), 0), 0);
    const a = wins / (pd.length * hc.length);
    const q1 = a / (2 - a), q2 = (2 * a * a) / (1 + a);
    const spread = a * (1 - a) + (pd.length - 1) * (q1 - a * a) + (hc.length - 1) * (q2 - a * a);
    const half = 1.96 * Math.sqrt(Math.max(0, spread) / (pd.length * hc.length));
    return { value: a, low: Math.max(0, a - half), high: Math.min(1, a + half) };
  }

  // ── a threshold on the ROC curve ──────────────────────────────────────────────────────────────────────
  function roc(live, values) {
    let model = values.models[0], cuts = [0];
    const named = (cut) => (Number.isFinite(cut) ? plain(cut, 3) : "above every score");
    const inHundred = (prevalence) => share(prevalence, prevalence < 0.01 ? 1 : 0);
    const curve = plot("ROC curve with the point of the threshold", 250, unit("false positive rate"), unit("recall"));
    const rows = { low: 0, high: 2, ticks: [], label: "" };
    const strip = plot("Scores of both classes and the threshold", 56, unit("score"), rows);
    const said = html("p", { role: "status", class: "pd-said" });
    const tables = html("div", { class: "pd-tables" });
    const models = choice("Model", values.models.map(({ name }) => name), () => choose());
    // one step of the slider is one change of the matrix: the cuts are the scores, and one above them all
    const threshold = slider("Threshold", { min: 0, max: 1, step: 1, value: 0 }, (at) => named(cuts[at]), () => draw());
    const people = slider("People who have PD", { min: 0, max: values.prevalences.length - 1, step: 1,
      value: values.prevalences.indexOf(values.prevalence) }, (at) => inHundred(values.prevalences[at]), () => draw());
    const jump = (text, cut) => {
      const button = html("button", { type: "button" }, text);
      button.addEventListener("click", () => { threshold.value = cuts.findIndex((own) => own >= cut()); draw(); });
      return button;
    };

    function choose() {
      model = values.models[models.value];
      cuts = [...new Set(model.score)].sort((a, b) => a - b).concat(Infinity);
      threshold.input.max = cuts.length - 1;
      threshold.value = cuts.findIndex((own) => own >= 0.5);
      draw();
    }

    const place = ({ tp, fn, fp, tn }) => [curve.across(ratio(fp, fp + tn)), curve.up(ratio(tp, tp + fn))];

    function draw() {
      const { label, score } = model;
      const at = (cut) => confusion(label, (person) => score[person] >= cut);
      const cut = cuts[threshold.value], prevalence = values.prevalences[people.value];
      const own = at(cut), best = at(model.best);
      const inside = confusion(label, (person) => score[person] >= model.threshold[person]);
      const line = [...cuts].reverse().map((each) => place(at(each)).join(",")).join(" ");
      curve.layer.replaceChildren(
        svg("path", { class: "pd-chance", d: `M${curve.across(0)} ${curve.up(0)}L${curve.across(1)} ${curve.up(1)}` }),
        svg("polyline", { class: "pd-line", points: line }),
        triangle(...place(inside), 7, "pd-training"),
        diamond(...place(best), 8, "pd-best"),
        circle(...place(own), 6, "pd-own"));

      const marks = indices(label).map((person) => {
        const middle = strip.up(label[person] ? 1.5 : 0.5), x = strip.across(score[person]);
        return svg("path", { d: `M${x} ${middle - 9}V${middle + 9}`, class: label[person] ? "pd-tick-pd" : "pd-tick-hc" });
      });
      const folds = [...new Set(model.threshold)].map((each) =>
        triangle(strip.across(Math.min(1, each)), strip.up(2) - 3, 5, "pd-training"));
      const here = strip.across(Number.isFinite(cut) ? cut : 1.02);
      strip.layer.replaceChildren(
        svg("text", { x: 14, y: strip.up(1.5) + 4 }, "PD"), svg("text", { x: 14, y: strip.up(0.5) + 4 }, "HC"),
        ...marks, ...folds,
        svg("path", { class: "pd-cut", d: `M${here} ${strip.up(2)}V${strip.up(0)}` }));

      const [mine, theirs, tested] = [own, inside, best].map((counts) => rates(counts, prevalence));
      said.textContent = `Threshold ${named(cut)}: ${own.tp} of ${own.tp + own.fn} PD and `
        + `${own.fp} of ${own.fp + own.tn} HC are called PD. `
        + `Where ${inHundred(prevalence)} of people have PD, ` + (Number.isFinite(mine.predictive)
          ? `${share(mine.predictive)} of those called PD have it, ` + (Number.isFinite(mine.alarms)
            ? `with ${plain(mine.alarms, 1)} false alarms for every case found.` : "and no case is found.")
          : "nobody is called PD.");
      const row = (name, key) => [name, share(mine[key]), share(theirs[key]), share(tested[key])];
      tables.replaceChildren(
        table("Confusion matrix at your threshold", ["truly", "called PD", "called HC"],
          [["PD", own.tp, own.fn], ["HC", own.fp, own.tn]]),
        table("Metrics with each threshold", ["metric", "yours ●", "training ▲", "best on the test ◆"], [
          ...["accuracy", "precision", "recall", "specificity"].map((name) => row(name, name)),
          row("F1", "f1"), row(`predictive value at ${inHundred(prevalence)}`, "predictive")]));
    }

    const buttons = html("div", { class: "pd-buttons" },
      jump("one half", () => 0.5), jump("best on the test", () => model.best));
    const key = html("p", { class: "pd-key" },
      "● your threshold  ▲ chosen in training, each fold its own  ◆ best on the test");
    live.append(
      html("div", {}, models.row, threshold.row, buttons, curve.drawing, strip.drawing, key),
      html("div", {}, people.row, said, tables));
    choose();
  }

  // ── age against score ─────────────────────────────────────────────────────────────────────────────────
  function ages(live, values) {
    const { age, label, place } = values.people, step = values.step;
    const first = Math.min(...age), last = Math.max(...age) + step;
    const range = { min: first, max: last - step, step };
    const ticks = [first, last].concat(first < 50 && last > 50 ? 50 : []);
    const years = { low: first, high: last, ticks, label: "age (years)" };
    const points = plot("Age and score of every person", 220, years, unit("score"));
    const said = html("p", { role: "status", class: "pd-said" });
    const warning = html("p", { role: "status", class: "pd-few" });
    const tables = html("div", { class: "pd-tables" });
    const models = choice("Model", values.models, () => draw());
    const youngest = slider("Youngest", { ...range, value: first }, (years) => `from ${years}`,
      () => { if (oldest.value < youngest.value) oldest.value = youngest.value; draw(); });
    const oldest = slider("Oldest", { ...range, value: last - step }, (years) => `to ${years + step - 1}`,
      () => { if (youngest.value > oldest.value) youngest.value = oldest.value; draw(); });

    function draw() {
      const model = values.models[models.value], score = values.people[model];
      const chosen = (person) => age[person] >= youngest.value && age[person] <= oldest.value;
      const left = points.across(youngest.value), right = points.across(oldest.value + step);
      const dot = (person) => (label[person] ? circle : square)(points.across(place[person]), points.up(score[person]),
        3.5, `${label[person] ? "pd-is-pd" : "pd-is-hc"}${chosen(person) ? "" : " pd-left-out"}`);
      points.layer.replaceChildren(
        svg("rect", { x: left, y: points.up(1), width: right - left, height: points.up(0) - points.up(1), class: "pd-range" }),
        ...indices(age).map(dot));
      const among = (list, own, within) => list.filter((_, person) => label[person] === own && (!within || chosen(person)));
      const area = (list, within) => auc(among(list, 1, within), among(list, 0, within));
      const text = ({ value, low, high }) =>
        (Number.isFinite(value) ? `${plain(value)} [${plain(low)},\u00a0${plain(high)}]` : "not defined");
      const pd = among(age, 1, true).length, hc = among(age, 0, true).length;
      const by = { age: area(age, true), score: area(score, true) };
      said.textContent = `From ${youngest.value} to ${oldest.value + step - 1} years: `
        + `${pd} people with PD and ${hc} without. `
        + `AUC of age ${text(by.age)}, of ${model} ${text(by.score)}.`;
      warning.textContent = Math.min(pd, hc) < values.few
        ? `Fewer than ${values.few} people of a class are left: an AUC of so few says next to nothing.` : "";
      tables.replaceChildren(table("AUC with approximate 95 % interval", ["score", "all ages", "chosen ages"], [
        [`age, in steps of ${step} years`, text(area(age, false)), text(by.age)],
        [model, text(area(score, false)), text(by.score)]]));
    }

    const key = html("p", { class: "pd-key" }, html("span", { class: "pd-is-pd" }, "●"), " PD  ",
      html("span", { class: "pd-is-hc" }, "■"), " HC; pale: left out");
    live.append(
      html("div", {}, models.row, youngest.row, oldest.row, points.drawing, key),
      html("div", {}, said, warning, tables));
    draw();
  }

  // ── the two parts of a synthetic voice, mixed ─────────────────────────────────────────────────────────
  function listen(live, _, box) {
    for (const voice of box.querySelectorAll(".pd-voice")) {
      const source = (part) => voice.querySelector(`audio[data-part="${part}"]`).src;
      const name = voice.querySelector("p").textContent.split(";")[0];
      let playing = null;
      const gains = () => [Math.min(1, 2 - mix.value / 50), Math.min(1, mix.value / 50)];
      const words = ["harmonic only", "more harmonic", "both", "more percussive", "percussive only"];
      const mix = slider(`Mix, ${name}`, { min: 0, max: 100, step: 5, value: 50 },
        (at) => words[2 + Math.sign(at - 50) + (at === 100) - (at === 0)],
        () => playing && playing.gains.forEach((gain, at) => { gain.gain.value = gains()[at]; }));
      const button = html("button", { type: "button", "aria-pressed": "false" }, "Play the mix in a loop");
      const stop = () => { playing.context.close(); playing = null; button.setAttribute("aria-pressed", "false"); };
      button.addEventListener("click", async () => {
        if (playing) {
          stop();
          return;
        }
        const context = new AudioContext();
        playing = { context, gains: gains().map((value) => new GainNode(context, { gain: value })) };
        button.setAttribute("aria-pressed", "true");
        const bytes = (uri) => Uint8Array.from(atob(uri.split(",")[1]), (letter) => letter.charCodeAt(0)).buffer;
        const parts = ["harmonic", "percussive"].map((part) => context.decodeAudioData(bytes(source(part))));
        const own = playing.gains;
        const sounds = await Promise.all(parts).catch((error) => { if (context.state !== "closed") throw error; });
        if (context.state === "closed") return;
        sounds.forEach((buffer, at) => {
          const node = new AudioBufferSourceNode(context, { buffer, loop: true });
          node.connect(own[at]).connect(context.destination);
          node.start();
        });
      });
      voice.append(mix.row, html("div", { class: "pd-buttons" }, button));
    }
  }

  // ── every box of the page ─────────────────────────────────────────────────────────────────────────────
  const kinds = { roc, ages, listen };
  function wake() {
    for (const box of document.querySelectorAll(".pd-moment[data-moment]")) {
      const data = box.querySelector("script[type='application/json']");
      const live = html("div", { class: "pd-live" });
      box.querySelector(".pd-moment-foot").before(live);
      kinds[box.dataset.moment](live, data && JSON.parse(data.textContent), box);
      box.classList.add("pd-awake");
    }
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", wake);
  else wake();
})();
