// "Write here": three networks read a stroke while it is drawn.
//
// The networks and the strokes come from pen.js, the network that goes on with a stroke from
// writer.js when it is first asked; both are scripts, since a page opened from a disk may not fetch.
// The first half of this file reads strokes and knows no page; the second half is the panel.
// Positions have y upwards and are in units of PEN.size, the median size of the strokes that the
// networks were trained on.
"use strict";
(() => {

// --- The reading: helpers.padding.read_along, point by point -------------------------------------

class Along {
  constructor(size, spacing) {
    // `given`: the positions so far; `points`: those read, each after so many `before` it.
    Object.assign(this, {size, step: spacing * size, travelled: 0, given: [], points: [], before: []});
  }

  // Take where the pen is now; return the steps that it has completed, each 4 features.
  add([x, y]) {
    const last = this.given[this.given.length - 1];
    this.given.push([x, y]);
    if (!last) {
      this.points.push([x, y]);
      this.before.push(0);
      return [[0, 0, 0, 0]];
    }
    const [x0, y0] = last, distance = Math.hypot(x - x0, y - y0), steps = [];
    const end = this.travelled + distance + 1e-9 * this.size;
    for (let due; distance && (due = this.points.length * this.step) < end; ) {
      const share = Math.min((due - this.travelled) / distance, 1);
      const here = [x0 + share * (x - x0), y0 + share * (y - y0)];
      const first = this.points[0], before = this.points[this.points.length - 1];
      this.points.push(here);
      this.before.push(this.given.length - 1);
      steps.push([
        (here[0] - first[0]) / this.size, (here[1] - first[1]) / this.size,
        (here[0] - before[0]) / this.step, (here[1] - before[1]) / this.step,
      ]);
    }
    this.travelled += distance;
    return steps;
  }
}

// --- The cells: the equations of the book, as Keras computes them ---------------------------------

const sigmoid = a => 1 / (1 + Math.exp(-a));
function map(n, f) {
  const out = new Float64Array(n);
  for (let j = 0; j < n; j++) out[j] = f(j);
  return out;
}

// start + vector · matrix; the matrix is stored row by row.
function product(vector, matrix, start) {
  const out = start.slice(), columns = out.length;
  for (let i = 0, at = 0; i < vector.length; i++) {
    for (let j = 0; j < columns; j++, at++) out[j] += vector[i] * matrix[at];
  }
  return out;
}

// From a step and the state before it to the state after it, with all that is computed on the way.
const CELLS = {
  SimpleRNN: {
    step: (x, {h}, w) => ({h: product(h, w.W_h, product(x, w.W_x, w.b)).map(Math.tanh)}),
  },
  LSTM: {
    step(x, {h, c}, w) {
      const n = h.length, a = product(h, w.W_h, product(x, w.W_x, w.b));
      const i = map(n, j => sigmoid(a[j])), f = map(n, j => sigmoid(a[n + j]));
      const next = map(n, j => f[j] * c[j] + i[j] * Math.tanh(a[2 * n + j]));
      const o = map(n, j => sigmoid(a[3 * n + j]));
      return {h: map(n, j => o[j] * Math.tanh(next[j])), c: next, f, i, o};
    },
  },
  GRU: {
    step(x, {h}, w) {
      const n = h.length, a = product(x, w.W_x, w.b.subarray(0, 3 * n));
      const b = product(h, w.W_h, w.b.subarray(3 * n));
      const z = map(n, j => sigmoid(a[j] + b[j])), r = map(n, j => sigmoid(a[n + j] + b[n + j]));
      const candidate = j => Math.tanh(a[2 * n + j] + r[j] * b[2 * n + j]);
      return {h: map(n, j => z[j] * h[j] + (1 - z[j]) * candidate(j)), z, r};
    },
  },
};

// Weights are stored as 16-bit floats, one after the other, in Keras' order.
function halfFloats(text) {
  const bytes = Uint8Array.from(atob(text), sign => sign.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return map(bytes.length / 2, k => {
    const bits = view.getUint16(2 * k, true), exponent = (bits >> 10) & 31, rest = bits & 1023;
    const size = exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -24 * rest;
    return bits >> 15 ? -size : size;
  });
}

function weightsOf(shapes, text) {
  const all = halfFloats(text), weights = {};
  let used = 0;
  shapes.forEach((shape, k) => {
    const count = shape.reduce((a, b) => a * b);
    weights[["W_x", "W_h", "b", "W_y", "b_y"][k]] = all.subarray(used, used += count);
  });
  return weights;
}

// A network in the middle of a stroke: `history` holds its state and probabilities at every step.
class Network {
  constructor(name, weights) {
    Object.assign(this, {name, weights});
    this.restart();
  }

  restart() {
    this.history = [];
    this.state = {h: new Float64Array(PEN.units), c: new Float64Array(PEN.units)};
  }

  read(features) {
    this.state = CELLS[this.name].step(features, this.state, this.weights);
    const a = product(this.state.h, this.weights.W_y, this.weights.b_y);
    const top = Math.max(...a), powers = a.map(v => Math.exp(v - top));
    const sum = powers.reduce((s, v) => s + v);
    this.history.push({...this.state, p: powers.map(v => v / sum)});
  }
}

const NAMES = Object.keys(CELLS);
const WEIGHTS = {};
for (const when of ["trained", "first"]) {
  WEIGHTS[when] = {};
  for (const name of NAMES) {
    WEIGHTS[when][name] = weightsOf(PEN.networks[name].shapes, PEN.networks[name][when]);
  }
}

// Read a whole stroke; return the points that were read and a network for each name.
function readStroke(stroke, when = "trained", size = 1) {
  const along = new Along(size, PEN.spacing);
  const networks = NAMES.map(name => new Network(name, WEIGHTS[when][name]));
  for (const point of stroke) {
    for (const features of along.add(point)) networks.forEach(network => network.read(features));
  }
  return {along, networks};
}

// --- Going on: experiments/writing.py, for one stroke -------------------------------------------

// One step from a mixture, as helpers.mixture.sample draws it.
function drawStep(a, pen, random) {
  const count = (a.length - 1) / 6, {temperature} = pen, logits = a.subarray(0, count);
  const top = Math.max(...logits), pi = logits.map(v => Math.exp(v - top));
  const sum = pi.reduce((s, v) => s + v), least = Math.min(pen.least, 1 / sum);
  const scores = map(count, k => !temperature ? logits[k] : pi[k] / sum < least ? -Infinity
    : logits[k] / temperature - Math.log(-Math.log(random())));
  const k = largest(scores), mu = [a[count + 2 * k], a[count + 2 * k + 1]];
  if (!temperature) return {step: mu.map(Math.round), ended: a[a.length - 1] > 0};
  const variance = [0, 1].map(j => Math.exp(2 * a[3 * count + 2 * k + j]));
  const covariance = WRITER.largest_rho * Math.tanh(a[5 * count + k]) * Math.sqrt(variance[0] * variance[1]);
  const sigma = variance.map(v => Math.sqrt(Math.max(v - pen.taken, 1e-4)));
  const bound = WRITER.largest_rho, ratio = covariance / (sigma[0] * sigma[1]);
  const rho = Math.min(bound, Math.max(-bound, ratio));
  const radius = Math.sqrt(-2 * temperature * Math.log(1 - random())), angle = 2 * Math.PI * random();
  const u = radius * Math.cos(angle);
  const v = rho * u + Math.sqrt(1 - rho * rho) * radius * Math.sin(angle);
  return {
    step: [Math.round(mu[0] + sigma[0] * u), Math.round(mu[1] + sigma[1] * v)],
    ended: random() < sigmoid(a[a.length - 1] / temperature),
  };
}

// The network that writes is larger than the three that read, and comes when it is first asked.
const HERE = document.currentScript.src;
function fetchWriter() {
  return new Promise((resolve, reject) => {
    if (WRITER) return resolve();
    const script = document.createElement("script");
    script.src = new URL("writer.js", HERE);
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${script.src} was not found`));
    document.head.append(script);
  });
}

// Read a stroke that was begun, and go on as a character of that class: `begun`, the steps that were
// read, in pixels, and `points`, where the pen goes.
function goOn(stroke, label, pen = WRITER.pen, random = Math.random) {
  const unit = WRITER.pixel / PEN.size, along = new Along(1, WRITER.distance * unit);
  stroke.forEach(point => along.add(point));
  const pixels = along.points.map(p => p.map((v, k) => Math.round((v - along.points[0][k]) / unit)));
  const begun = pixels.slice(1).map((p, t) => [p[0] - pixels[t][0], p[1] - pixels[t][1]]);
  const weights = weightsOf(WRITER.shapes, WRITER.weights), n = WRITER.settings.units;
  let state = {h: new Float64Array(n), c: new Float64Array(n)}, place = [0, 0], step = null;
  let here = along.points[along.points.length - 1];
  const points = [];
  for (let t = 0; t < WRITER.longest; t++) {
    const x = new Float64Array(5 + PEN.classes.length);
    if (step) x.set([...step.map(v => v / WRITER.step_unit), ...place.map(v => v / WRITER.place_unit)]);
    else x[4] = 1;
    x[5 + label] = 1;
    state = CELLS.LSTM.step(x, state, weights);
    if (t < begun.length) {
      step = begun[t];
    } else {
      const drawn = drawStep(product(state.h, weights.W_y, weights.b_y), pen, random);
      step = drawn.step;
      here = [here[0] + step[0] * unit, here[1] + step[1] * unit];
      points.push(here);
      if (drawn.ended) break;
    }
    place = [place[0] + step[0], place[1] + step[1]];
  }
  return {begun, points};
}

// --- The panel -------------------------------------------------------------------------------------

const SCALE = 200;  // of the paper, whose width is 340: one median stroke is 200 wide
const CENTRE = [170, 118];
const SHOWN = {SimpleRNN: "RNN", LSTM: "LSTM", GRU: "GRU"};
const CHART = {left: 44, right: 334, top: 8, bottom: 66};
const DASHES = ["", "7 3", "7 2 1.5 2", "1.5 3", "12 3"];  // beside the colours of write_here.css
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const onPaper = ([x, y]) => [CENTRE[0] + SCALE * x, CENTRE[1] - SCALE * y];
const line = points => points.map(p => p.map(v => v.toFixed(1)).join()).join(" ");
// Stored strokes are in thousandths of a size: x1, y1, x2, y2, …
const unpack = flat => flat.filter((_, k) => k % 2 === 0).map((x, k) => [x / 1000, flat[2 * k + 1] / 1000]);
const largest = p => p.indexOf(Math.max(...p));

// The same end after another beginning: the first third of the path is exchanged. The new one is
// moved to where the old one ended; how far the pen has gone by then differs with the beginning.
function withBeginning(stroke, other) {
  const [begin] = cutAtThird(other), [dropped, end] = cutAtThird(stroke);
  const [x, y] = begin[begin.length - 1];
  const moved = begin.map(([a, b]) => [a - x + end[0][0], b - y + end[0][1]]);
  return {stroke: [...moved, ...end.slice(1)], dropped};
}

function cutAtThird(stroke) {
  const lengths = stroke.slice(1).map(([x, y], k) => Math.hypot(x - stroke[k][0], y - stroke[k][1]));
  const third = lengths.reduce((s, v) => s + v, 0) / 3;
  let at = 0, travelled = 0;
  while (travelled < third) travelled += lengths[at++];
  return [stroke.slice(0, at + 1), stroke.slice(at)];
}

class Panel {
  constructor(root) {
    this.root = root;
    this.part = name => root.querySelector(`.pen-${name}`);
    this.paper = this.part("paper");
    this.stroke = [];  // as drawn
    this.at = 0;  // the step that is looked at
    this.handed = Infinity;  // from this point on a network holds the pen
    this.fillIn();
    this.listen();
    this.replay(true);
    root.classList.add("pen-ready");
  }

  // What follows from the networks: choices, the rows of the table, the lines of the charts.
  fillIn() {
    const option = (text, value) => new Option(text, value);
    const {classes} = PEN;
    this.part("trace").append(...classes.map(name => option(name, name)), option("nothing", ""));
    this.part("trace").value = "chA";
    this.part("beginning").append(
      option("as it is", ""), ...classes.map(name => option(`that of ${name}`, name)));
    this.part("asked").append(...classes.map((name, k) => option(name, k)));
    this.part("on").hidden = !WRITES;
    const numbers = {};
    this.part("stored").append(...PEN.strokes.map(({label}, k) => {
      numbers[label] = (numbers[label] || 0) + 1;
      return option(`${label} ${numbers[label]}`, k);
    }));
    this.part("stored").value = PEN.strokes.findIndex(stroke => stroke.label === "chA");
    const draw = (parent, tag, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      return parent.appendChild(element);
    };
    this.cells = classes.map((name, k) => {
      const row = this.part("table").tBodies[0].rows[k];
      return [...row.cells].slice(1);
    });
    this.charts = [...this.root.querySelectorAll(".pen-chart")].map(chart => ({
      earlier: classes.map((_, k) => draw(chart, "polyline", {
        class: `pen-line pen-earlier pen-${k}`, "stroke-dasharray": DASHES[k]})),
      lines: classes.map((_, k) => draw(chart, "polyline", {
        class: `pen-line pen-${k}`, "stroke-dasharray": DASHES[k]})),
      cursor: draw(chart, "path", {class: "pen-cursor"}),
      name: draw(chart, "text", {class: "pen-leader"}),
    }));
  }

  listen() {
    const on = (name, event, action) => this.part(name).addEventListener(event, action);
    on("trace", "change", () => { this.guide(); });
    on("stored", "change", () => this.replay());
    on("play", "click", () => this.replay());
    on("clear", "click", () => this.begin());
    on("write", "click", () => this.goOn());
    on("beginning", "change", () => this.finish());
    on("when", "change", () => this.finish());
    on("inner", "change", () => this.draw());
    on("slider", "input", () => { this.at = +this.part("slider").value; this.draw(true); });
    this.paper.addEventListener("pointerdown", event => {
      if (event.button) return;
      event.preventDefault();
      this.paper.setPointerCapture(event.pointerId);
      this.begin();
      this.pen = event.pointerId;
      this.move([this.position(event)]);
    });
    this.paper.addEventListener("pointermove", event => {
      if (event.pointerId !== this.pen) return;
      const between = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      this.move((between.length ? between : [event]).map(e => this.position(e)));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.paper.addEventListener(end, event => {
        if (event.pointerId !== this.pen) return;
        this.pen = null;
        this.finish();
      });
    }
  }

  // Where the pen is, in sizes, with y upwards.
  position(event) {
    const box = this.paper.getBoundingClientRect(), unit = 340 / box.width;
    return [
      ((event.clientX - box.left) * unit - CENTRE[0]) / SCALE,
      (CENTRE[1] - (event.clientY - box.top) * unit) / SCALE,
    ];
  }

  get when() {
    return this.part("when").value;
  }

  // A new stroke, read as it comes.
  begin() {
    cancelAnimationFrame(this.animation);
    this.stroke = [];
    this.handed = Infinity;
    this.earlier = this.dropped = null;
    this.part("beginning").value = "";
    this.reading = readStroke([], this.when);
    this.at = 0;
    this.draw(true);
  }

  // The pen has moved: read, and draw with the next frame.
  move(points) {
    for (const point of points) {
      this.stroke.push(point);
      for (const features of this.reading.along.add(point)) {
        this.reading.networks.forEach(network => network.read(features));
      }
    }
    this.at = this.steps - 1;
    this.draw();
  }

  get steps() {
    return this.reading.along.points.length;
  }

  // The stroke is complete, or is to be read otherwise: read all of it, and say what came out.
  finish() {
    if (!this.stroke.length) return;
    const other = this.part("beginning").value;
    this.earlier = this.dropped = null;
    let stroke = this.stroke;
    if (other) {
      this.earlier = readStroke(stroke, this.when);
      ({stroke, dropped: this.dropped} = withBeginning(stroke, unpack(PEN.guides[other])));
    }
    this.reading = readStroke(stroke, this.when);
    this.at = this.steps - 1;
    this.draw(true);
  }

  // Write a stored stroke.
  replay(atOnce = false) {
    const stored = PEN.strokes[+this.part("stored").value];
    this.begin();
    this.part("trace").value = stored.label;
    this.guide();
    this.follow(unpack(stored.points), atOnce);
  }

  // Let a network go on from the step that is looked at; on an empty sheet, from the guide's start.
  async goOn() {
    await fetchWriter();
    cancelAnimationFrame(this.animation);
    const label = +this.part("asked").value, {given, before, points} = this.reading.along;
    const begun = !this.steps ? [unpack(PEN.guides[PEN.classes[label]])[0]]
      : this.at < this.steps - 1 ? [...given.slice(0, before[this.at]), points[this.at]] : [...given];
    this.begin();
    this.move(begun);
    this.handed = begun.length;
    this.follow(goOn(begun, label).points, false, 40);
  }

  // Move the pen along points, at the pace of a pen; at once where motion is not wanted.
  follow(points, atOnce = false, pace = 18) {
    const start = performance.now(), begun = this.stroke.length;
    const go = now => {
      const due = atOnce || STILL.matches ? points.length : Math.floor((now - start) / pace);
      this.move(points.slice(this.stroke.length - begun, due));
      if (this.stroke.length < begun + points.length) this.animation = requestAnimationFrame(go);
      else this.finish();
    };
    go(start + pace);
  }

  guide() {
    const name = this.part("trace").value, points = name ? unpack(PEN.guides[name]).map(onPaper) : [];
    if (name) this.part("asked").value = PEN.classes.indexOf(name);
    this.part("guide").setAttribute("points", line(points));
    this.part("start").setAttribute("transform",
      points.length ? `translate(${points[0]})` : "translate(-99 -99)");
  }

  // Show the step that is looked at; `say` it where a screen reader hears it.
  draw(say = false) {
    const {along, networks} = this.reading, steps = this.steps, at = Math.min(this.at, steps - 1);
    // The ink ends where the step is; while the pen moves, where the pen is.
    const here = along.points[at], split = this.pen != null ? Infinity : along.before[at];
    const ink = [...along.given.slice(0, split), ...(split < Infinity ? [here] : [])];
    const rest = split < Infinity ? [here, ...along.given.slice(split)] : [];
    this.part("ink").setAttribute("points", line(ink.map(onPaper)));
    this.part("own").setAttribute("points",
      this.earlier ? "" : line(ink.slice(this.handed - 1).map(onPaper)));
    this.part("rest").setAttribute("points", line(rest.map(onPaper)));
    this.part("dropped").setAttribute("points", line((this.dropped || []).map(onPaper)));
    this.part("tip").setAttribute("transform",
      steps ? `translate(${onPaper(here)})` : "translate(-99 -99)");
    this.part("hint").style.display = this.pen == null ? "" : "none";
    const usual = Math.round(3.5 / PEN.spacing);
    const longest = Math.max(usual, steps - 1, this.earlier ? this.earlier.along.points.length - 1 : 0);
    const x = t => CHART.left + (CHART.right - CHART.left) * t / longest;
    const y = p => CHART.bottom - (CHART.bottom - CHART.top) * p;
    const curve = (history, k) => line(history.map(({p}, t) => [x(t), y(p[k])]));
    networks.forEach(({history}, j) => {
      const chart = this.charts[j], now = steps ? history[at].p : null;
      chart.lines.forEach((l, k) => l.setAttribute("points", curve(history, k)));
      chart.earlier.forEach((l, k) => l.setAttribute("points",
        this.earlier ? curve(this.earlier.networks[j].history, k) : ""));
      chart.cursor.setAttribute("d", steps ? `M${x(at)} ${CHART.top}V${CHART.bottom}` : "");
      const winner = now ? largest(now) : 0, late = at > 0.8 * longest;
      chart.name.textContent = now ? PEN.classes[winner] : "";
      chart.name.setAttribute("x", x(at) + (late ? -5 : 5));
      chart.name.setAttribute("y", now ? Math.min(CHART.bottom - 4, y(now[winner]) + 13) : 0);
      chart.name.setAttribute("text-anchor", late ? "end" : "start");
      this.cells.forEach((row, k) => {
        row[j].textContent = now ? now[k].toFixed(2) : "–";
        row[j].classList.toggle("pen-most", Boolean(now) && k === winner);
      });
    });
    this.drawInner(at, longest);
    const slider = this.part("slider");
    slider.max = Math.max(steps - 1, 0);
    slider.value = Math.max(at, 0);
    if (say) this.say(at);
  }

  // States or gates of one network: a row a unit, a column a step, from dark (low) to light (high).
  drawInner(at, longest) {
    const [name, what] = this.part("inner").value.split(" ");
    const {history} = this.reading.networks[NAMES.indexOf(name)];
    const [low, high] = {h: [-1, 1], c: [-2, 2]}[what] || [0, 1], canvas = this.part("states");
    canvas.width = longest + 1;
    canvas.height = PEN.units;
    const context = canvas.getContext("2d"), image = context.createImageData(longest + 1, PEN.units);
    history.forEach((state, t) => state[what].forEach((value, j) => {
      const colour = cividis((value - low) / (high - low));
      image.data.set([...colour, t <= at ? 255 : 90], 4 * (j * (longest + 1) + t));
    }));
    context.putImageData(image, 0, 0);
    this.part("scale").textContent = 
      `a row a unit; dark ${low < 0 ? `−${high}` : 0}, light ${high}`;
  }

  say(at) {
    const slider = this.part("slider"), output = this.part("said");
    // What moves the slider is read out as its value, and need not be heard twice.
    output.setAttribute("aria-live", document.activeElement === slider ? "off" : "polite");
    if (at < 0 || !this.steps) {
      output.textContent = "An empty sheet.";
      slider.setAttribute("aria-valuetext", "nothing written");
      return;
    }
    const verdict = (reading, t) => reading.networks.map(({name, history}) => {
      const {p} = history[t], k = largest(p);
      return `${SHOWN[name]} ${PEN.classes[k]} ${p[k].toFixed(2)}`;
    }).join(", ");
    let words = `Step ${at + 1} of ${this.steps}: ${verdict(this.reading, at)}.`;
    if (this.earlier) {
      const before = verdict(this.earlier, this.earlier.along.points.length - 1);
      words += ` With its own beginning (thin lines): ${before}.`;
    }
    output.textContent = words;
    slider.setAttribute("aria-valuetext", words);
    this.paper.setAttribute("aria-label", `Paper to write on. ${words}`);
  }
}

// The book's colour map, cividis, by five of its colours.
const MAP = [[0, 34, 78], [63, 73, 107], [124, 123, 120], [188, 174, 107], [254, 232, 56]];
function cividis(share) {
  const place = 4 * Math.min(Math.max(share, 0), 1), k = Math.min(Math.floor(place), 3);
  return MAP[k].map((from, j) => from + (place - k) * (MAP[k + 1][j] - from));
}

// The tests read strokes without the panel.
window.writeHere = {readStroke, fetchWriter, goOn};
document.querySelectorAll(".pen").forEach(root => new Panel(root));
})();
