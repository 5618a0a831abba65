"use strict";
(() => {
  const tools = document.getElementById("tools");
  if (tools) {
    const text = document.getElementById("find"), op = document.getElementById("op");
    const outcome = document.getElementById("outcome"), shown = document.getElementById("shown");
    const parts = [...document.querySelectorAll("details.op")].map((part) => {
      const table = part.querySelector("table");
      const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.toLowerCase());
      const rows = [...table.tBodies[0].rows].map((row) => ({
        row, text: row.textContent.toLowerCase(), cells: [...row.querySelectorAll("td.c")] }));
      return { part, table, heads, rows, open: part.open, matrix: table.classList.contains("matrix") };
    });
    const total = parts.reduce((sum, one) => sum + one.rows.reduce((all, row) => all + row.cells.length, 0), 0);
    const filter = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const busy = words.length || op.value || outcome.value;
      let count = 0;
      for (const one of parts) {
        let any = false;
        // In a matrix, formats are columns: a word that heads a column picks columns, any other picks rows.
        const columnWords = one.matrix ? words.filter((word) => one.heads.slice(1).some((head) => head.includes(word))) : [];
        const rowWords = words.filter((word) => !columnWords.includes(word));
        const keep = one.heads.map((head, i) => i === 0 || columnWords.every((word) => head.includes(word)));
        for (const row of one.rows) {
          const fits = rowWords.every((word) => row.text.includes(word));
          let hits = 0;
          for (const cell of row.cells) {
            const state = !outcome.value || cell.dataset.o.split(" ").includes(outcome.value);
            const hit = fits && state && (!one.matrix || keep[cell.cellIndex]);
            if (one.matrix) cell.classList.toggle("off", Boolean(busy) && !hit);
            hits += hit;
          }
          row.row.hidden = hits === 0;
          if (one.matrix) [...row.row.cells].forEach((cell, i) => { cell.hidden = !keep[i]; });
          if (!op.value || op.value === one.part.dataset.op) { count += hits; any = any || hits > 0; }
        }
        if (one.matrix) [...one.table.tHead.rows[0].cells].forEach((cell, i) => { cell.hidden = !keep[i]; });
        one.part.hidden = !any;
        one.part.open = busy ? any : one.open;
      }
      shown.textContent = busy ? count + " of " + total + " cells" : total + " cells";
    };
    tools.hidden = false;
    for (const field of [text, op, outcome]) field.addEventListener("input", filter);
    filter();
  }
  // For browsers whose style sheets cannot unfold.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of folded) one.open = false; });
})();
