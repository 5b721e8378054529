/* What a browser knows of an open page, for tests/browser.py. */
window.looking = {
  name(element) {
    const id = element.id || element.closest("[id]")?.id || "";
    return `<${element.tagName.toLowerCase()}${id && ` at #${id}`}> ${element.textContent.trim().slice(0, 50)}`;
  },

  /* Everything that folds, opened and closed by its own button; gives back what does not do so. */
  toggles() {
    const faults = [];
    document.querySelectorAll("main details > summary").forEach((summary) => {
      const fold = summary.parentElement, before = fold.open;
      summary.click();
      if (fold.open === before) faults.push(`${this.name(fold)} does not change when clicked`);
      summary.click();
      if (fold.open !== before) faults.push(`${this.name(fold)} does not change back`);
    });
    document.querySelectorAll("main button.toggle-button").forEach((button) => {
      const fold = button.closest(".toggle"), before = fold.classList.contains("toggle-hidden");
      button.click();
      if (fold.classList.contains("toggle-hidden") === before) faults.push(`${this.name(fold)} stays as it was`);
      button.click();
    });
    return faults;
  },

  open() {
    document.querySelectorAll("details").forEach((fold) => (fold.open = true));
    document.querySelectorAll(".toggle-hidden > button.toggle-button").forEach((button) => button.click());
  },

  /* What makes the page wider than the window. */
  wide() {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
      .filter((e) => e.getBoundingClientRect().right > width + 1 && e.checkVisibility() && !e.closest("svg"))
      .filter((e) => {
        for (let p = e.parentElement; p; p = p.parentElement)
          if (p !== document.body && p !== document.documentElement && getComputedStyle(p).overflowX !== "visible") return false;
        return true;
      })
      .slice(0, 5)
      .map((e) => this.name(e))
      .concat(`the page is ${document.documentElement.scrollWidth} px wide`);
  },

  /* Marks for axe one element of each look: colour, size and weight of the text, and everything behind it. Colours
     come from the stylesheets alone, so the contrast of a look is the same wherever it stands. */
  looks() {
    const clear = /^(transparent|rgba\(.*, 0\))$/, seen = new Set(), grounds = new Map();
    const ground = (element) => {
      if (!element) return "";
      if (!grounds.has(element)) {
        const style = getComputedStyle(element);
        const own = (clear.test(style.backgroundColor) ? "" : `${style.backgroundColor};`)
          + (style.opacity === "1" ? "" : `${style.opacity};`)
          + (style.backgroundImage === "none" ? "" : `${style.backgroundImage};`);
        grounds.set(element, ground(element.parentElement) + own);
      }
      return grounds.get(element);
    };
    document.querySelectorAll("body *").forEach((element) => {
      element.removeAttribute("data-look");
      const text = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!text || element.closest("svg") || !element.checkVisibility()) return;
      const style = getComputedStyle(element);
      const look = [style.color, style.fontSize, style.fontWeight, style.textDecorationLine, ground(element)].join("|");
      if (!seen.has(look)) element.setAttribute("data-look", "");
      seen.add(look);
    });
  },

  async axe(rules) {
    this.looks();
    axe.configure({ rules: [{ id: "color-contrast", selector: "[data-look]" }] });
    const options = { resultTypes: ["violations"], preload: false };
    if (rules) options.runOnly = rules;
    // glyphs of an equation are hidden from readers, who hear its MathML; code whose every look is marked elsewhere is
    // plain text
    const outside = [["mjx-container > svg"], [".highlight:not(:has([data-look]))"]];
    const found = await axe.run({ exclude: outside }, options);
    return found.violations
      .filter((fault) => fault.impact === "serious" || fault.impact === "critical")
      .flatMap((fault) => fault.nodes.map((node) => `${fault.id} (${fault.impact}): ${node.html.slice(0, 160)}`));
  },

  facts() {
    const all = (selector) => [...document.querySelectorAll(selector)];
    return {
      ids: all("[id]").map((e) => e.id),
      links: all("a[href]").map((e) => e.href),
      outline: all("main h1, main h2, main h3, main h4, main h5, main h6")
        .filter((e) => e.checkVisibility())
        .map((e) => [Number(e.tagName[1]), e.innerText.trim()]),
      titles: all("h1").filter((e) => e.checkVisibility()).length,
      images: all("img").map((e) => ({
        alt: e.getAttribute("alt"),
        file: e.src.startsWith("data:") ? "" : e.src.split("/").pop(),
        at: e.closest("[id]")?.id || "",
        loaded: e.complete ? e.naturalWidth > 0 : null,
        caption: e.closest("figure")?.querySelector("figcaption")?.innerText || "",
      })),
      previous: document.querySelector(".prev-next-area a.left-prev")?.href || "",
      next: document.querySelector(".prev-next-area a.right-next")?.href || "",
      announced: document.querySelector(".bd-header-announcement")?.innerText || "",
      folded: all("main details.hide").length,
      equations: all("mjx-container").length,
      bad_equations: all("[data-mml-node=merror]").map((e) => e.dataset.mjxError || "?"),
    };
  },
};
