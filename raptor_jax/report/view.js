// The flight in 3D on a canvas; the camera orbits the middle of the path.

const FOCAL_LENGTH = 1.6;
const ROTOR_OF_ARM = 0.55; // radius of a drawn rotor, relative to the arm

// The current colour of a variable of the style sheet.
function colourOf(name) {
  const probe = document.getElementById("view");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

class FlightView {
  constructor(canvas) {
    this.canvas = canvas;
    this.azimuth = -0.9;
    this.elevation = 0.65;
    this.zoom = 1;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) this.turn(-event.movementX * 0.008, event.movementY * 0.008);
    });
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.scale(Math.exp(-event.deltaY * 0.001));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const turns = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      const factor = { "+": 1.15, "=": 1.15, "-": 1 / 1.15 }[event.key];
      if (turns) this.turn(...turns);
      if (factor) this.scale(factor);
      if (turns || factor) event.preventDefault();
    });
  }

  turn(azimuth, elevation) {
    this.azimuth += azimuth;
    this.elevation = Math.max(-1.5, Math.min(1.5, this.elevation + elevation));
    this.draw();
  }

  scale(factor) {
    this.zoom = Math.max(0.2, Math.min(20, this.zoom * factor));
    this.draw();
  }

  // Shows another flight; `rotors` [4][3] are the drone's rotor positions in m. Returns the factor by which it is enlarged.
  load(flight, rotors) {
    this.flight = flight;
    this.frame = 0;
    const points = [...flight.position, ...flight.target];
    const ranges = [0, 1, 2].map((axis) => rangeOf(column(points, axis)));
    this.centre = ranges.map(([low, high]) => (low + high) / 2);
    this.floor = ranges[2][0];
    const arm = Math.max(...rotors.map((rotor) => Math.hypot(...rotor)));
    const reach = Math.hypot(...ranges.map(([low, high]) => (high - low) / 2));
    this.radius = Math.max(reach, arm) + arm;
    const magnified = Math.max(1, (0.1 * this.radius) / arm);
    this.rotors = rotors.map((rotor) => rotor.map((value) => value * magnified));
    this.rotorRadius = arm * magnified * ROTOR_OF_ARM;
    this.gridStep = ticks([0, 2 * this.radius])[1];
    return magnified;
  }

  show(frame) {
    this.frame = frame;
    this.draw();
  }

  // Position of a point of the world on the canvas; null behind the camera.
  project(point) {
    const [x, y, z] = point.map((value, axis) => (value - this.centre[axis]) / this.radius);
    const [ca, sa, ce, se] = [Math.cos(this.azimuth), Math.sin(this.azimuth), Math.cos(this.elevation), Math.sin(this.elevation)];
    const right = -sa * x + ca * y, out = ca * x + sa * y;
    const depth = 3.4 - (ce * out + se * z);
    if (depth < 0.1) return null;
    const factor = (FOCAL_LENGTH * this.zoom * Math.min(this.width, this.height)) / depth;
    return [this.width / 2 + right * factor, this.height / 2 - (ce * z - se * out) * factor];
  }

  stroke(points, colour, width = 1, { dash = [], alpha = 1, fill = false } = {}) {
    const context = this.context;
    context.beginPath();
    let pen = "moveTo";
    for (const point of points) {
      const at = this.project(point);
      if (at === null) { pen = "moveTo"; continue; }
      context[pen](...at);
      pen = "lineTo";
    }
    context.globalAlpha = alpha;
    context.setLineDash(dash);
    context.lineWidth = width;
    context.strokeStyle = context.fillStyle = colour;
    context.stroke();
    if (fill) {
      context.globalAlpha = alpha * 0.3;
      context.fill();
    }
  }

  draw() {
    const { canvas } = this, ratio = window.devicePixelRatio;
    this.width = canvas.clientWidth;
    this.height = canvas.clientHeight;
    if (!this.flight || this.width === 0) return;
    canvas.width = this.width * ratio;
    canvas.height = this.height * ratio;
    this.context = canvas.getContext("2d");
    this.context.scale(ratio, ratio);
    this.drawGrid();
    const { position, target } = this.flight;
    this.stroke(position, colourOf("quiet"), 1, { alpha: 0.6 });
    this.stroke(position.slice(0, this.frame + 1), colourOf("one"), 2);
    if (target.some((point) => point.some((value) => value !== 0))) this.stroke(target, colourOf("three"), 1.2, { dash: [3, 4] });
    this.drawTarget(target[this.frame]);
    this.drawDrone(position[this.frame], this.flight.attitude[this.frame]);
  }

  // A floor below the path, with the directions of x and y.
  drawGrid() {
    const [cx, cy] = this.centre, step = this.gridStep, count = 5, colour = colourOf("line");
    const [x0, y0] = [Math.round(cx / step) * step, Math.round(cy / step) * step];
    for (let line = -count; line <= count; line++) {
      const reach = count * step;
      this.stroke([[x0 + line * step, y0 - reach, this.floor], [x0 + line * step, y0 + reach, this.floor]], colour);
      this.stroke([[x0 - reach, y0 + line * step, this.floor], [x0 + reach, y0 + line * step, this.floor]], colour);
    }
    this.context.globalAlpha = 1;
    this.context.fillStyle = colourOf("quiet");
    this.context.font = "12px system-ui, sans-serif";
    const tips = { x: [x0 + count * step, y0, this.floor], y: [x0, y0 + count * step, this.floor] };
    for (const [name, tip] of Object.entries(tips)) {
      const at = this.project(tip);
      if (at) this.context.fillText(name, ...at);
    }
  }

  drawTarget(point) {
    const size = this.radius * 0.06, colour = colourOf("three");
    for (let axis = 0; axis < 3; axis++) {
      const ends = [-size, size].map((shift) => point.map((value, index) => value + (index === axis ? shift : 0)));
      this.stroke(ends, colour, 1.8);
    }
    this.stroke([point, [point[0], point[1], this.floor]], colour, 1, { dash: [2, 3] });
  }

  drawDrone(position, attitude) {
    const place = (vector) => rotate(attitude, vector).map((value, axis) => value + position[axis]);
    this.stroke([position, [position[0], position[1], this.floor]], colourOf("quiet"), 1, { dash: [2, 3] });
    this.rotors.forEach((rotor) => {
      const front = rotor[0] > 0, colour = colourOf(front ? "two" : "ink");
      this.stroke([position, place(rotor)], colourOf("ink"), 2.5);
      const circle = Array.from({ length: 25 }, (_, point) => {
        const angle = (2 * Math.PI * point) / 24;
        return place([rotor[0] + this.rotorRadius * Math.cos(angle), rotor[1] + this.rotorRadius * Math.sin(angle), rotor[2]]);
      });
      this.stroke(circle, colour, 1.8, { fill: true });
    });
  }
}
