// Sorts the table by the column whose heading is pressed, and hides rows that lack the text typed.
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
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = `${shown} of ${body.rows.length} results`;
});
