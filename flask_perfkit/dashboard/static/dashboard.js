// Theme, refresh, copy and search by key. All else of the dashboard works without this file.
(() => {
  "use strict";
  const root = document.documentElement;
  const store = { // private windows may refuse to keep anything
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* not kept */ } },
  };
  const THEME = "perfkit-theme";
  const chosen = store.get(THEME);
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  const say = (text) => { document.getElementById("said").textContent = text; };

  function switchTheme(button) {
    const next = isDark() ? "light" : "dark";
    root.dataset.theme = next;
    store.set(THEME, next);
    button.setAttribute("aria-pressed", String(next === "dark"));
  }

  async function copy(button) {
    const text = button.closest(".code").querySelector("pre").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      say("Copied");
    } catch { // no clipboard outside of https and localhost: leave it selected
      getSelection().selectAllChildren(button.closest(".code").querySelector("pre"));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  const isBusy = () =>
    document.hidden || !getSelection().isCollapsed || document.activeElement.closest("form, details");

  async function refresh() {
    if (isBusy()) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok || isBusy()) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      const old = document.querySelector("main");
      if (!fresh) return;
      const open = [...old.querySelectorAll("details")].map((each) => each.open);
      fresh.querySelectorAll("details").forEach((each, place) => { each.open = Boolean(open[place]); });
      const focused = document.activeElement.getAttribute("href");
      old.replaceWith(document.adoptNode(fresh));
      if (focused) fresh.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      ready(fresh);
    } catch { /* the server restarts: the next round finds it again */ }
  }

  function ready(part) {
    part.querySelectorAll("[data-js]").forEach((each) => { each.hidden = false; });
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    if (button.dataset.do === "theme") switchTheme(button);
    if (button.dataset.do === "copy") copy(button);
  });

  document.addEventListener("keydown", (event) => {
    const search = document.querySelector("input[type=search]");
    if (event.key !== "/" || !search || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    search.focus();
  });

  document.addEventListener("DOMContentLoaded", () => {
    ready(document);
    document.querySelector("[data-do=theme]").setAttribute("aria-pressed", String(isDark()));
    const seconds = Number(root.dataset.refresh);
    if (seconds > 0) setInterval(refresh, seconds * 1000);
  });
})();
