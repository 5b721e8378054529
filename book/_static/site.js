/* What the theme's own pages leave undone for readers with a keyboard or a screen reader. */
(() => {
  "use strict";

  /* What scrolls sideways must be reachable by keyboard; which equation does depends on the width of the window. */
  function reachWideEquations() {
    document.querySelectorAll("mjx-container[display=true]").forEach((equation) => {
      if (equation.scrollWidth > equation.clientWidth) equation.setAttribute("tabindex", "0");
      else equation.removeAttribute("tabindex");
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    // the button of a folded cell has a visible name, such as "Show code cell source", and a hidden other one
    document.querySelectorAll("details.hide > summary").forEach((summary) => summary.removeAttribute("aria-label"));
    // a list of references has no list items, but entries of a deprecated role
    document.querySelectorAll(".citation-list").forEach((list) => {
      list.querySelectorAll(":scope > .citation").forEach((entry) => entry.setAttribute("role", "listitem"));
    });
    // the book's name and its search field belong to no landmark
    const sidebar = document.querySelector(".bd-sidebar-primary");
    if (sidebar && !sidebar.hasAttribute("role")) {
      sidebar.setAttribute("role", "region");
      sidebar.setAttribute("aria-label", "Book");
    }
  });

  /* Paper is white, so a dark page is printed as a light one. */
  const page = document.documentElement;
  let theme;
  window.addEventListener("beforeprint", () => {
    theme = page.dataset.theme;
    page.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => (page.dataset.theme = theme));

  window.addEventListener("load", async () => {
    // a picture that is not wide fits a phone without scrolling
    document.querySelectorAll("img.pd-image").forEach((image) => {
      image.classList.toggle("pd-upright", image.naturalWidth < 1.4 * image.naturalHeight);
    });
    if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
    reachWideEquations();
    window.addEventListener("resize", reachWideEquations);
    document.addEventListener("toggle", reachWideEquations, true);
  });
})();
