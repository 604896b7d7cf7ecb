// Sorts the table by the column whose heading is pressed, and hides results that lack the text typed:
// their rows, their lines in the charts, and what names these.
const table = document.getElementById("results");
const body = table.tBodies[0];

function key(row, column) {
  const text = row.cells[column].dataset.sort;
  return text !== "" && !isNaN(text) ? Number(text) : text;
}

function compare(a, b) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

function sortBy(heading) {
  const column = heading.cellIndex;
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const known = (row) => key(row, column) !== "";
  const rows = [...body.rows].sort((a, b) => {
    const order = compare(key(a, column), key(b, column));
    return down && known(a) && known(b) ? -order : order;
  });
  body.append(...rows);
}

for (const heading of table.tHead.rows[0].cells) {
  heading.querySelector("button").addEventListener("click", () => sortBy(heading));
}

document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  const hidden = new Set();
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    if (row.hidden) hidden.add(Number(row.dataset.run));
  }
  for (const item of document.querySelectorAll(".key li")) item.hidden = hidden.has(Number(item.dataset.run));
  for (const chart of document.querySelectorAll(".js-plotly-plot")) {
    Plotly.restyle(chart, { visible: chart.data.map((trace) => !hidden.has(trace.meta)) });
  }
  document.getElementById("shown").textContent = `${body.rows.length - hidden.size} of ${body.rows.length} results`;
});
