// Show what a link leads to while the pointer rests on it or it has the focus; Escape closes.
(function () {
  const KINDS = "figure, table, tr, li, .math, .citation, .exercise, .proof"; // also in previews.py
  const own = document.currentScript;
  const source = new URL(`previews/${own.dataset.page}.js`, own.src);
  const box = document.createElement("div");
  box.className = "book-preview";
  box.id = "book-preview";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  document.body.append(box);
  let stored = {}, glyphs = "", loading = null, wanted = null, open = null, timer = 0;

  // What other pages hold is loaded when the first preview is asked for.
  function load() {
    loading ||= new Promise(done => {
      const script = document.createElement("script");
      script.src = source;
      script.onerror = done;
      script.onload = () => {
        [stored, glyphs] = PREVIEWS;
        done();
      };
      document.head.append(script);
    });
    return loading;
  }

  function ask(link) {
    wanted = link;
    load().then(() => { if (wanted === link) show(link); });
  }

  function content(link) {
    const address = link.getAttribute("href");
    const target = address.length > 1 && address[0] === "#"
      && document.getElementById(decodeURIComponent(address.slice(1)));
    const copied = target && target.matches(KINDS) && !target.contains(link) ? target.outerHTML : "";
    // What several previews share is stored once, and named in a comment where it goes.
    return (stored[link.id] || stored[address] || "").replace(/<!--(.+?)-->/g, (_, key) => stored[key] || "")
      + (copied.startsWith("<tr") ? `<table>${copied}</table>` : copied);
  }

  // A preview is to be read: nothing in it can be operated, and no id stands twice.
  function quieten(root) {
    root.querySelectorAll(".headerlink, script, button, input").forEach(e => e.remove());
    for (const element of root.querySelectorAll("[id], [href], [tabindex], [title]")) {
      for (const name of ["id", "href", "tabindex", "title"]) element.removeAttribute(name);
    }
  }

  function show(link) {
    const markup = content(link);
    close();
    if (!markup) return;
    if (glyphs && !document.getElementById("book-preview-glyphs")) {
      document.body.insertAdjacentHTML("beforeend", '<svg id="book-preview-glyphs" '
        + `aria-hidden="true" style="display:none"><defs>${glyphs}</defs></svg>`);
    }
    box.innerHTML = markup;
    quieten(box);
    box.hidden = false;
    open = link;
    link.setAttribute("aria-describedby", box.id);
    const at = link.getClientRects()[0], page = document.documentElement;
    const above = at.top - 14, below = page.clientHeight - at.bottom - 14;
    const under = box.scrollHeight < below || below > above;
    box.style.maxHeight = `${under ? below : above}px`;
    const right = page.clientWidth - box.offsetWidth - 8;
    box.style.left = `${scrollX + Math.max(8, Math.min(at.left, right))}px`;
    box.tabIndex = box.scrollHeight > box.clientHeight ? 0 : -1;
    box.style.top = `${scrollY + (under ? at.bottom + 6 : at.top - box.offsetHeight - 6)}px`;
  }

  function close() {
    clearTimeout(timer);
    if (open) open.removeAttribute("aria-describedby");
    open = wanted = null;
    box.hidden = true;
  }

  function later(action, milliseconds) {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  }

  const linkOf = event => event.target.closest && event.target.closest("article a[href*='#']");
  document.addEventListener("pointerover", event => {
    if (event.pointerType !== "mouse") return;
    const link = linkOf(event);
    if (link && link !== open) later(() => ask(link), 200);
    else if (link || box.contains(event.target)) clearTimeout(timer);
    else if (open !== document.activeElement) later(close, 300);
  });
  document.addEventListener("focusin", event => {
    const link = linkOf(event);
    if (link && link.matches(":focus-visible")) ask(link);
  });
  document.addEventListener("focusout", event => {
    if (!box.contains(event.relatedTarget)) close();
  });
  document.addEventListener("click", event => { if (!box.contains(event.target)) close(); });
  document.addEventListener("keydown", event => {
    const step = {ArrowDown: 60, ArrowUp: -60}[event.key];
    if (event.key === "Escape") close();
    // What does not fit moves under the arrow keys while the link keeps the focus.
    else if (step && open === document.activeElement && box.tabIndex === 0) {
      box.scrollBy(0, step);
      event.preventDefault();
    }
  });
})();
// What a number comes from may be folded, or filtered out of the ledger.
addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.matches(".cell, tr")) return;
  target.hidden = false;
  target.querySelectorAll("details").forEach(details => { details.open = true; });
  target.scrollIntoView();
});
