// One element in a corner of a page: how long its request took, and a link to what it did.
(() => {
  "use strict";
  const { href, time, statements, findings, worst } = document.currentScript.dataset;
  if (customElements.get("perfkit-badge")) return;

  const LOOK = `
    :host { all: initial; position: fixed; right: 12px; bottom: 12px; z-index: 2147483647; }
    a { display: flex; gap: 10px; align-items: center; padding: 6px 11px; border-radius: 999px;
        font: 500 12px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; text-decoration: none;
        color: #e9edf5; background: #161d2af2; border: 1px solid #ffffff29; box-shadow: 0 2px 10px #0004; }
    a:hover { background: #232d40; }
    a:focus-visible { outline: 2px solid #93aaff; outline-offset: 2px; }
    i { width: 8px; height: 8px; border-radius: 50%; background: #6fd796; }
    i.error { background: #ff7b6f; } i.warning { background: #f3c268; } i.info { background: #8cc4ff; }
    @media print { :host { display: none; } }`;

  customElements.define("perfkit-badge", class extends HTMLElement {
    connectedCallback() {
      const shadow = this.attachShadow({ mode: "open" });
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(LOOK);
      shadow.adoptedStyleSheets = [sheet];
      const link = document.createElement("a");
      link.href = href;
      const dot = document.createElement("i");
      dot.className = worst;
      const parts = [time, statements, findings].filter(Boolean).map((text) => {
        const part = document.createElement("span");
        part.textContent = text;
        return part;
      });
      link.append(dot, ...parts);
      link.setAttribute("aria-label", `PerfKit: ${[time, statements, findings].filter(Boolean).join(", ")}`);
      shadow.append(link);
    }
  });
  document.body.append(document.createElement("perfkit-badge"));
})();
