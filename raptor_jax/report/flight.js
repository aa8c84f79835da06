// Unpacks the flights that raptor_jax/report/flights.py packs.

// Returns the frames of a flight: position and target [frames][3] in m, attitude [frames][4] (w, x, y, z),
// motors [frames][4] from 0 to 1.
function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  let place = 0;
  const frames = (columns, size, read, scale) => Array.from({ length: packed.length }, () =>
    Array.from({ length: columns }, () => {
      const value = read(place) * scale;
      place += size;
      return value;
    }));
  const int16 = (offset) => view.getInt16(offset, true), uint8 = (offset) => view.getUint8(offset);
  const position = frames(3, 2, int16, packed.metres);
  const attitude = frames(4, 2, int16, 1 / 32767);
  const motors = frames(4, 1, uint8, 1 / 255);
  const target = packed.moving ? frames(3, 2, int16, packed.metres) : position.map(() => [0, 0, 0]);
  return { position, attitude, motors, target };
}

// Roll, pitch and yaw in degrees (yaw first, about the world's z).
function eulerAngles([w, x, y, z]) {
  const degrees = 180 / Math.PI;
  return [
    Math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)) * degrees,
    Math.asin(Math.max(-1, Math.min(1, 2 * (w * y - z * x)))) * degrees,
    Math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)) * degrees,
  ];
}

// A body vector in the world frame.
function rotate([w, x, y, z], [a, b, c]) {
  const [i, j, k] = [2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)];
  return [a + w * i + y * k - z * j, b + w * j + z * i - x * k, c + w * k + x * j - y * i];
}

const column = (frames, index) => frames.map((frame) => frame[index]);

// Draws the three charts of a flight; returns a function that moves their cursors to a frame.
function flightCharts(flight, dt) {
  const times = flight.position.map((_, frame) => frame * dt);
  const angles = flight.attitude.map(eulerAngles);
  const lines = [
    ["position", flight.position, ["x", "y", "z"], undefined],
    ["attitude", angles, ["roll", "pitch", "yaw"], undefined],
    ["motors", flight.motors, ["front right", "back right", "back left", "front left"], [0, 1]],
  ];
  const colours = ["one", "two", "three", "four"];
  const cursors = lines.map(([id, frames, names, fixed]) => {
    const dotted = id === "position" ? flight.target : [];
    const y = fixed ?? rangeOf([...frames, ...dotted].flat(), 0.05);
    const chart = axes(document.getElementById(id), {
      x: [0, Math.max(times.at(-1), dt)], y, xLabel: "time [s]", height: 190, label: `${id} over time: ${names.join(", ")}`,
    });
    names.forEach((_, index) => {
      curve(chart, times, column(frames, index), colours[index], { "stroke-width": 1.3 });
      if (dotted.some((frame) => frame[index] !== 0)) {
        curve(chart, times, column(dotted, index), colours[index], { "stroke-dasharray": "2 4", opacity: 0.8 });
      }
    });
    legend(document.getElementById(`${id}-legend`), names.map((name, index) => [colours[index], name]));
    const cursor = chart.add("line", { class: "cursor", y1: MARGIN.top, y2: chart.py(y[0]) });
    return (frame) => {
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, chart.px(times[frame]));
    };
  });
  return (frame) => cursors.forEach((place) => place(frame));
}
