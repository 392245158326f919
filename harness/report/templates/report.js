"use strict";
// Every string goes in as text, never as markup.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const table = read("table-data"), details = read("details-data");
const PAGE = 100;
const state = { sort: null, down: false, filter: "", page: 0, shown: new Set(table.columns.filter((c) => c.shown).map((c) => c.name)) };
for (const column of table.columns) {
  column.numeric = !column.values.some((value) => typeof value === "string");
  column.bestRows = new Set(column.best);
}
const byName = new Map(table.columns.map((column) => [column.name, column]));

function element(name, text, properties) {
  const made = Object.assign(document.createElement(name), properties || {});
  if (text !== undefined) made.textContent = text;
  return made;
}

// As columns.py prints: a whole number whole, a large one without a fraction, others with significant digits.
function printed(value, column) {
  if (value === null) return "";
  if (typeof value !== "number") return String(value);
  const scaled = value * column.scale;
  if (Number.isInteger(scaled) && Math.abs(scaled) < 10 ** column.digits) return String(scaled);
  if (Math.abs(scaled) >= 10 ** (column.digits - 1)) return scaled.toFixed(0);
  return scaled.toPrecision(column.digits).replace(/e([+-])(\d)$/, "e$10$2");
}

// Words that a row must have, and conditions such as bits_per_byte<1.4, in printed units.
function matches(row, terms) {
  return terms.every((term) => {
    const condition = /^([a-z0-9_]+)(<=|>=|<|>|=)(.+)$/.exec(term);
    const column = condition && byName.get(condition[1]);
    if (!column) return rowText(row).includes(term);
    const value = column.values[row], wanted = condition[3];
    if (value === null) return false;
    if (!column.numeric) return condition[2] === "=" && String(value).toLowerCase() === wanted;
    const a = Number(value) * column.scale, b = Number(wanted);
    return { "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "=": a === b }[condition[2]];
  });
}
const texts = [];
function rowText(row) {
  return (texts[row] ??= table.columns.map((c) => printed(c.values[row], c)).join(" ").toLowerCase());
}

function rows() {
  const terms = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const found = table.runs.map((_, row) => row).filter((row) => matches(row, terms));
  const column = byName.get(state.sort);
  if (!column) return found;
  const sign = state.down ? -1 : 1;
  return found.sort((a, b) => {
    const x = column.values[a], y = column.values[b];
    if (x === null || y === null) return (x === null) - (y === null); // what is missing is last, both ways
    return sign * (column.numeric ? x - y : String(x).localeCompare(String(y)));
  });
}

function heading(column) {
  const cell = element("th", undefined, { title: column.meaning, className: column.numeric ? "number" : "", scope: "col" });
  const active = state.sort === column.name;
  cell.setAttribute("aria-sort", active ? (state.down ? "descending" : "ascending") : "none");
  const button = element("button", column.label + (active ? (state.down ? " ▾" : " ▴") : ""), { type: "button" });
  button.onclick = () => {
    state.down = active && !state.down;
    state.sort = column.name;
    state.page = 0;
    draw();
    document.querySelector('#table th[aria-sort="ascending"] button, #table th[aria-sort="descending"] button').focus();
  };
  cell.append(button);
  return cell;
}

function line(row, columns) {
  const made = element("tr", undefined, { tabIndex: 0 });
  if (byName.get("status")?.values[row] !== "ok") made.className = "notok";
  for (const column of columns) {
    const cell = element("td", printed(column.values[row], column), { className: column.numeric ? "number" : "" });
    if (column.bestRows.has(row)) cell.classList.add("best");
    made.append(cell);
  }
  made.onclick = () => open(row);
  made.onkeydown = (event) => { if (event.key === "Enter") open(row); };
  return made;
}

function draw() {
  const columns = table.columns.filter((column) => state.shown.has(column.name)), all = rows();
  const pages = Math.max(1, Math.ceil(all.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const head = element("thead"), body = element("tbody"), top = element("tr");
  top.append(...columns.map(heading));
  head.append(top);
  body.append(...all.slice(state.page * PAGE, (state.page + 1) * PAGE).map((row) => line(row, columns)));
  document.getElementById("table").replaceChildren(head, body);
  document.getElementById("count").textContent = `${all.length} of ${table.runs.length} runs`;
  const bar = document.getElementById("pages");
  bar.replaceChildren();
  if (pages > 1) {
    const turn = (by) => { state.page += by; draw(); };
    bar.append(
      element("button", "Earlier", { disabled: state.page === 0, onclick: () => turn(-1) }),
      element("span", `page ${state.page + 1} of ${pages}`),
      element("button", "Later", { disabled: state.page === pages - 1, onclick: () => turn(1) }),
    );
  }
}

function keys(mapping) {
  const made = element("table", undefined, { className: "keys" });
  for (const [key, value] of Object.entries(mapping)) {
    const row = element("tr");
    row.append(element("td", key), element("td", value));
    made.append(row);
  }
  return made;
}

function open(row) {
  const id = table.runs[row], run = details.runs[id], place = document.getElementById("details");
  place.replaceChildren(element("h2", id));
  const part = (title, ...content) => place.append(element("h3", title), ...content);
  const figures = table.columns.filter((column) => column.values[row] !== null && column.values[row] !== "");
  if (run?.reason) part("Why it has no result", element("pre", run.reason));
  const numbers = () => part("Numbers", keys(Object.fromEntries(figures.map((c) => [c.label, printed(c.values[row], c)]))));
  if (run) {
    part("Command", element("pre", run.command), element("p", run.started_at));
    part("Configuration that not all runs share", keys(run.config));
    for (const [title, name] of [["Machine and software", "environment"], ["Model", "model"], ["Data", "data"], ["Energy sources", "energy_sources"]])
      part(title, ...details.pool[run[name]].map(keys));
    part("End of the log", run.log ? element("pre", run.log) : element("p", "No log is kept with this record."));
  } else part("Origin", element("p", "Imported: this row has no record here."));
  numbers();
  document.getElementById("run").showModal();
  document.getElementById("run").scrollTop = 0;
}

for (const column of table.columns) {
  const label = element("label"), box = element("input", undefined, { type: "checkbox", checked: state.shown.has(column.name), value: column.name });
  box.onchange = () => { state.shown[box.checked ? "add" : "delete"](column.name); draw(); };
  label.append(box, ` ${column.label}`);
  document.getElementById("choices").append(label);
}
document.getElementById("filter").oninput = (event) => { state.filter = event.target.value; state.page = 0; draw(); };
document.getElementById("shared").replaceWith(Object.assign(keys(details.shared), { id: "shared" }));
draw();
