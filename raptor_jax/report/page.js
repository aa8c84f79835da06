// Builds the report; one teacher is selected, and every part shows it.

const data = JSON.parse(document.getElementById("data").textContent);
const { teachers, parameters, curves } = data;
const find = (id) => document.getElementById(id);
const count = teachers.teacher_id.length;
const nameOf = (row) => `teacher ${String(teachers.teacher_id[row]).padStart(4, "0")}`;

function showSummary() {
  find("about").textContent = data.about;
  find("run").textContent = JSON.stringify(data.run, null, 2);
  const returns = sortedNumbers(teachers.return), lengths = sortedNumbers(teachers.episode_length);
  const passed = teachers.passed.includes(null) ? "not evaluated" : `${teachers.passed.filter(Boolean).length} of ${count}`;
  const at = (values, p) => (values.length ? quantile(values, p).toFixed(0) : "–");
  const terminated = sortedNumbers(teachers.share_terminated);
  const tiles = [
    [`passed (return above ${data.pass_return})`, passed],
    ["median return", at(returns, 0.5)],
    ["5th percentile", at(returns, 0.05)],
    ["worst", at(returns, 0)],
    ["median episode length", `${at(lengths, 0.5)} of ${data.episode_steps}`],
    ["episodes terminated", terminated.length ? `${((100 * terminated.reduce((a, b) => a + b, 0)) / terminated.length).toFixed(1)} %` : "–"],
  ];
  const shares = sortedNumbers(teachers.ceiling_share);
  if (shares.length) tiles.push([`share of the ceiling, median (${data.ceiling_episodes} episodes)`, `${(100 * quantile(shares, 0.5)).toFixed(1)} %`]);
  const byStudent = sortedNumbers(teachers.student);
  if (byStudent.length) tiles.push([`median return of the student, on ${byStudent.length} drones`, at(byStudent, 0.5)]);
  find("ceiling-hint").hidden = !shares.length;
  find("tiles").append(...tiles.map(([term, value]) => {
    const tile = document.createElement("div"), name = document.createElement("dt"), number = document.createElement("dd");
    name.textContent = term;
    number.textContent = value;
    tile.append(name, number);
    return tile;
  }));
}

function showDistributions() {
  find("returns-caption").textContent = `Teachers by ${data.return_name}; dashed: the pass return`;
  const bins = Math.max(8, Math.min(40, Math.round(2 * Math.sqrt(count))));
  histogram(find("returns"), teachers.return, {
    x: rangeOf([...teachers.return, data.pass_return]), bins, limit: data.pass_return, xLabel: "return", label: "histogram of the returns, in teachers",
  });
  histogram(find("lengths"), teachers.episode_length, {
    x: [0, data.episode_steps], bins, xLabel: "episode length [steps]", label: "histogram of the episode lengths, in teachers",
  });
}

// Quantiles of the best actors at each point; they do not depend on the selected teacher.
const spread = curves.step.map((_, point) => sortedNumbers(curves.kept.map((values) => values[point])));

function showCurves(row) {
  const own = curves.reward[row], step = curves.step;
  const bound = (p) => spread.map((sorted) => quantile(sorted, p));
  const worst = bound(0);
  const y = rangeOf([...worst, ...bound(1), ...own, data.pass_return], 0.03);
  const chart = axes(find("curves"), { x: rangeOf(step), y, xLabel: "environment steps of a teacher", label: "learning curves" });
  band(chart, step, bound(0.05), bound(0.95), 0.18);
  band(chart, step, bound(0.25), bound(0.75), 0.3);
  curve(chart, step, bound(0.5), "one");
  curve(chart, step, worst, "bad", { "stroke-width": 1 });
  curve(chart, step, own, "four");
  const [left, right] = chart.x.map(chart.px), pass = chart.py(data.pass_return);
  chart.add("line", { class: "limit", x1: left, x2: right, y1: pass, y2: pass });
  legend(find("curves-legend"), [
    ["one", "median, middle half, 5th to 95th percentile"], ["bad", "worst"], ["four", nameOf(row)], ["ink", "pass return (dashed)"],
  ]);
}

const RAMP = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"].map((colour) =>
  [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));

function rampColour(share) {
  const place = Math.max(0, Math.min(1, share)) * (RAMP.length - 1), below = Math.min(RAMP.length - 2, Math.floor(place));
  const mixed = RAMP[below].map((value, channel) => value + (place - below) * (RAMP[below + 1][channel] - value));
  return `rgb(${mixed.map(Math.round).join(" ")})`;
}

// Draws the map of drones; returns a function that marks one of them.
function showMap(choose) {
  const [nameX, nameY] = [find("map-x").value, find("map-y").value];
  const titled = (name) => `${parameters[name].title}${parameters[name].unit === "1" ? "" : ` [${parameters[name].unit}]`}`;
  const chart = axes(find("map"), {
    x: rangeOf(teachers[nameX], 0.03), y: rangeOf(teachers[nameY], 0.03), xLabel: titled(nameX),
    label: `map of the drones: ${titled(nameY)} against ${titled(nameX)}`,
  });
  const [low, high] = rangeOf(teachers.return);
  const radius = count > 300 ? 3.5 : 5;
  const place = (row) => ({ cx: chart.px(teachers[nameX][row]), cy: chart.py(teachers[nameY][row]) });
  for (let row = 0; row < count; row++) {
    const value = teachers.return[row];
    const point = chart.add("circle", {
      class: teachers.passed[row] === false ? "drone failed" : "drone", r: radius, ...place(row),
      fill: value === null ? "none" : rampColour((value - low) / (high - low)),
    });
    point.appendChild(svgElement("title", {}, `${nameOf(row)}: return ${value === null ? "–" : value.toFixed(0)}`));
    point.addEventListener("click", () => choose(row));
  }
  const ring = chart.add("circle", { class: "ring", r: radius + 4 });
  const ramp = document.createElement("span");
  ramp.className = "ramp";
  ramp.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(rampColour).join(", ")})`;
  const scale = document.createElement("span");
  scale.append(`return ${short(+low.toFixed(0))}`, ramp, short(+high.toFixed(0)));
  legend(find("map-legend"), teachers.passed.includes(false) ? [["bad", "red edge: not passed"]] : []);
  find("map-legend").prepend(scale);
  return (row) => { for (const [key, value] of Object.entries(place(row))) ring.setAttribute(key, value); };
}

// The flight that is shown, and its clock.
const player = {
  view: new FlightView(find("view")),
  playing: false,
  frame: 0,

  load(row) {
    const packed = data.flights[row];
    if (this.playing) this.toggle();
    this.packed = packed;
    find("flight").classList.toggle("empty", packed === null);
    if (packed === null) {
      find("flight-text").textContent = `no flight of ${nameOf(row)}: the report has flights of the ${data.flights.filter(Boolean).length} of ${count} teachers with the lowest returns whose numbers are finite`;
      return;
    }
    const flight = unpack(packed);
    const larger = this.view.load(flight, data.rotors[row]);
    this.cursors = flightCharts(flight, data.dt);
    find("view-caption").textContent = `Grid of ${short(this.view.gridStep)} m; orange rotors are in front; green cross: the target`
      + (larger > 1.05 ? `; the drone is drawn ${larger.toFixed(1)} times as large` : "");
    find("flight-text").textContent = `${nameOf(row)} (${teachers.drone[row]}), ${data.flight_name}: return ${packed.return.toFixed(1)}, `
      + `${packed.length} steps, ${packed.terminated ? "terminated" : "flown to the end"}`;
    find("time").max = packed.length - 1;
    this.seek(0);
  },

  seek(frame) {
    this.frame = Math.max(0, Math.min(this.packed.length - 1, frame));
    const whole = Math.floor(this.frame);
    find("time").value = whole;
    find("clock").textContent = `${(whole * data.dt).toFixed(2)} s`;
    this.cursors(whole);
    this.view.show(whole);
  },

  toggle() {
    if (this.packed === null) return;
    this.playing = !this.playing;
    find("play").textContent = this.playing ? "pause" : "play";
    if (!this.playing) return;
    if (this.frame >= this.packed.length - 1) this.seek(0);
    let last = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      this.seek(this.frame + (Math.max(0, now - last) / 1000 / data.dt) * Number(find("speed").value));
      last = now;
      if (this.frame >= this.packed.length - 1) this.toggle();
      else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  },
};

function start() {
  showSummary();
  showDistributions();

  for (const [id, initial] of [["map-x", "thrust_to_weight"], ["map-y", "torque_to_inertia"]]) {
    find(id).append(...Object.entries(parameters).map(([name, { title }]) => new Option(title, name, false, name === initial)));
    find(id).addEventListener("change", () => { ringed = showMap(choose); ringed(chosen); });
  }

  let chosen = 0;
  let ringed = showMap(choose);
  const selectRow = teacherTable(find("teachers"), teachers, choose, () => find("flight").scrollIntoView());
  find("teacher").append(...teachers.teacher_id.map((_, row) => {
    const value = teachers.return[row];
    return new Option(`${nameOf(row).slice(8)}: return ${value === null ? "–" : value.toFixed(0)}`, row);
  }));

  function choose(row) {
    chosen = row;
    find("teacher").value = row;
    for (const element of document.querySelectorAll(".chosen")) element.textContent = nameOf(row);
    selectRow(row);
    ringed(row);
    showCurves(row);
    player.load(row);
  }

  find("teacher").addEventListener("change", (event) => choose(Number(event.target.value)));
  find("previous").addEventListener("click", () => choose((chosen + count - 1) % count));
  find("next").addEventListener("click", () => choose((chosen + 1) % count));
  find("play").addEventListener("click", () => player.toggle());
  find("time").addEventListener("input", (event) => player.seek(Number(event.target.value)));
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.closest("button, select, summary")) return;
    event.preventDefault();
    player.toggle();
  });

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => player.view.draw());
  find("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
    player.view.draw();
  });

  // The lowest return is the most interesting.
  choose(teachers.return.reduce((worst, value, row) => (value !== null && (teachers.return[worst] === null || value < teachers.return[worst]) ? row : worst), 0));
}

start();
