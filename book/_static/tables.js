/* Columns of the book's tables sort by their heads: up, down, as it was; on a phone, rows of long texts are stacked.
   Without this script the tables stand as they are and scroll in their frames. */
(() => {
  "use strict";

  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const LONG = 70; // characters in a cell that a phone cannot show in a column
  const UNBROKEN = /\S{31}/; // a hash, an address
  const NOTHING = new Set(["", "–", "—"]);
  // a number at the start of a cell, as in "−0.12", "97.5 %", "0.57 [0.44, 0.70]", "< 0.001", "1,234" and "2.1e-05"
  const NUMBER = /^[<>≤≥≈~±]?\s*([+-]?(?:\d{1,3}(?:[,\u202f]\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)(\s*%)?(?![\d]|[.:/-]\d)/i;

  function textOf(cell) {
    return cell.textContent.replace(/[\s\u00a0]+/g, " ").replace(/\u2212/g, "-").trim();
  }

  function numberIn(text) {
    const found = NUMBER.exec(text);
    if (!found) return null;
    return Number(found[1].replace(/[,\u202f]/g, "")) / (found[2] ? 100 : 1);
  }

  /* Numbers come before words, and an empty cell comes last whichever way the column is sorted. */
  function keysOf(cells) {
    const texts = cells.map(textOf);
    const sections = texts.some((text) => /^\d/.test(text) && numberIn(text) === null); // such as 3.3.2 beside 3.10
    return texts.map((text) => {
      if (NOTHING.has(text)) return { kind: 2 };
      const number = sections ? null : numberIn(text);
      return number === null ? { kind: 1, text } : { kind: 0, number };
    });
  }

  function compare(a, b, sign) {
    if (a.kind !== b.kind) return a.kind === 2 || b.kind === 2 ? a.kind - b.kind : sign * (a.kind - b.kind);
    if (a.kind === 0) return sign * (a.number - b.number);
    return a.kind === 1 ? sign * words.compare(a.text, b.text) : 0;
  }

  function sortable(table) {
    const head = table.tHead, body = table.tBodies[0];
    if (!head || head.rows.length !== 1 || table.tBodies.length !== 1 || body.rows.length < 3) return false;
    const width = head.rows[0].cells.length;
    const rows = [head.rows[0], ...body.rows];
    return rows.every((row) => row.cells.length === width && [...row.cells].every((c) => c.colSpan * c.rowSpan === 1));
  }

  function enhance(table) {
    if (!sortable(table)) return;
    const body = table.tBodies[0], original = [...body.rows], heads = [...table.tHead.rows[0].cells];

    function sortBy(column, direction) {
      const rows = [...original];
      if (direction !== "none") {
        const found = keysOf(rows.map((row) => row.cells[column]));
        const keys = new Map(rows.map((row, index) => [row, found[index]]));
        const sign = direction === "ascending" ? 1 : -1;
        rows.sort((a, b) => compare(keys.get(a), keys.get(b), sign)); // stable: equal rows keep the printed order
      }
      body.append(...rows);
      heads.forEach((head, index) => {
        if (index === column && direction !== "none") head.setAttribute("aria-sort", direction);
        else head.removeAttribute("aria-sort");
      });
    }

    heads.forEach((head, column) => {
      if (!textOf(head)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "pd-sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" };
        sortBy(column, next[head.getAttribute("aria-sort")] || "ascending");
      });
      head.append(button);
    });
  }

  /* Marks a table with long texts, and writes the name of its column into each cell; the stylesheet does the rest. */
  function label(table) {
    const head = table.tHead, rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    const cells = rows.flatMap((row) => [...row.cells]);
    cells.forEach((cell) => {
      cell.classList.toggle("pd-unbroken", UNBROKEN.test(textOf(cell)));
      cell.classList.toggle("pd-long", textOf(cell).length > LONG);
    });
    if (!head || head.rows.length !== 1 || !textOf(head.rows[0])) return;
    // the pages of measurements ask for it: their tables have many columns
    if (!table.classList.contains("pd-stack") && !cells.some((cell) => cell.classList.contains("pd-long"))) return;
    const names = [...head.rows[0].cells].map(textOf);
    rows.forEach((row) => [...row.cells].forEach((cell, column) => (cell.dataset.label = names[column] || "")));
    table.classList.add("pd-wordy");
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.pd-frame, .bd-article table.table").forEach(label); // before the heads are buttons
    document.querySelectorAll("table.pd-frame").forEach(enhance);
  });
})();
