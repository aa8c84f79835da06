// The table of teachers: headings sort, arrow keys select.

const COLUMNS = [
  ["teacher_id", "teacher", (value) => String(value).padStart(4, "0")],
  ["drone", "drone", (value) => value],
  ["return", "return", (value) => value.toFixed(1)],
  ["std_return", "std of\nreturns", (value) => value.toFixed(1)],
  ["passed", "passed", (value) => (value ? "yes" : "no")],
  ["episode_length", "episode\nlength", (value) => value.toFixed(0)],
  ["share_terminated", "terminated", (value) => `${(100 * value).toFixed(0)} %`],
  ["position_offset", "offset\n[m]", (value) => value.toFixed(3)],
  ["thrust_to_weight", "thrust to\nweight", (value) => value.toFixed(2)],
  ["torque_to_inertia", "torque to\ninertia [1/s²]", (value) => value.toFixed(0)],
  ["mass", "mass\n[kg]", (value) => value.toFixed(3)],
  ["rotor_time_constant_rising", "rotors\nrising [s]", (value) => value.toFixed(3)],
  ["rotor_time_constant_falling", "rotors\nfalling [s]", (value) => value.toFixed(3)],
  ["rounds", "rounds", (value) => String(value)],
];
// Shown where the command `ceiling` found something.
const CEILING_COLUMNS = [
  ["ceiling_return", "return in the\nceiling's episodes", (value) => value.toFixed(1)],
  ["ceiling", "ceiling", (value) => value.toFixed(1)],
  ["ceiling_share", "share of\nthe ceiling", (value) => `${(100 * value).toFixed(1)} %`],
];
// Shown where the report was made with a student.
const STUDENT_COLUMNS = [["student", "return of\nthe student", (value) => value.toFixed(1)]];

// Builds the table in `place`. Calls `choose(row)` for a row that the user selects, and `open()` for Enter.
// Returns `select(row)`, which marks a row without calling `choose`.
function teacherTable(place, teachers, choose, open) {
  const known = (key) => teachers[key].some((value) => value !== null);
  const columns = [
    ...COLUMNS.slice(0, 3),
    ...(known("student") ? STUDENT_COLUMNS : []),
    ...(known("ceiling") ? CEILING_COLUMNS : []),
    ...COLUMNS.slice(3),
  ];
  const table = document.createElement("table");
  table.setAttribute("role", "grid");
  const heading = table.createTHead().insertRow();
  const body = table.createTBody();
  const rows = teachers.teacher_id.map((_, row) => {
    const line = body.insertRow();
    line.dataset.row = row;
    line.tabIndex = -1;
    for (const [key, , show] of columns) {
      const value = teachers[key][row], cell = line.insertCell();
      cell.textContent = value === null ? "–" : show(value);
      if (key === "passed" && value === false) cell.className = "no";
    }
    return line;
  });

  function sort(column, ascending) {
    const values = teachers[columns[column][0]];
    const order = rows.map((_, row) => row).sort((a, b) => {
      if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null);
      const before = values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : 0;
      return (ascending ? before : -before) || a - b;
    });
    body.append(...order.map((row) => rows[row]));
    [...heading.cells].forEach((cell, index) => {
      cell.setAttribute("aria-sort", index !== column ? "none" : ascending ? "ascending" : "descending");
    });
  }

  columns.forEach(([, title], column) => {
    const cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col";
    button.type = "button";
    button.textContent = title;
    button.addEventListener("click", () => sort(column, cell.getAttribute("aria-sort") !== "ascending"));
    cell.append(button);
    heading.append(cell);
  });

  // Only one row is in the focus order, so that Tab skips the others.
  let chosen = rows[0];
  function select(row) {
    chosen.removeAttribute("aria-selected");
    chosen.tabIndex = -1;
    chosen = rows[row];
    chosen.setAttribute("aria-selected", "true");
    chosen.tabIndex = 0;
  }
  body.addEventListener("click", (event) => choose(Number(event.target.closest("tr").dataset.row)));
  body.addEventListener("keydown", (event) => {
    const line = event.target;
    const next = {
      ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling,
      Home: body.firstElementChild, End: body.lastElementChild,
    }[event.key];
    if (next) {
      event.preventDefault();
      choose(Number(next.dataset.row));
      next.focus();
    }
    if (event.key === "Enter") open();
  });

  sort(columns.findIndex(([key]) => key === "return"), true);
  place.replaceChildren(table);
  return select;
}
