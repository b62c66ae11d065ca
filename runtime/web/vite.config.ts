import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** A style sheet in the head would hold up the first paint: it goes behind the shell, which has its few rules in the page. */
const styleSheetBehindShell: Plugin = {
  name: "style-sheet-behind-shell",
  apply: "build",
  transformIndexHtml: {
    order: "post",
    handler(html) {
      const links = html.match(/^ *<link rel="stylesheet"[^>]*>\n/gm) ?? [];
      if (links.length !== 1) throw new Error(`one style sheet is expected in index.html, not ${links.length}`);
      const [link = ""] = links;
      return html.replace(link, "").replace(/^ *<noscript>/m, (after) => link + after);
    },
  },
};

// Where `vite dev` finds a running coordinator.
const COORDINATOR = process.env["PIXELSTREAM_COORDINATOR"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/static/",
  plugins: [styleSheetBehindShell],
  build: {
    outDir: "../coordinator/static",
    emptyOutDir: true,
    target: "es2022",
    // light-dark() and :has() are used as they are.
    cssTarget: ["chrome123", "firefox121", "safari17.5"],
    // A data: URL would need its own exception in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: "index.html", embed: "src/embed/embed.ts" },
      output: {
        // Sites link to the embed script by a name that must not change with its content.
        entryFileNames: (chunk) => (chunk.name === "embed" ? "embed.js" : "assets/[name]-[hash].js"),
      },
    },
  },
  server: { proxy: { "/api": COORDINATOR, "/healthz": COORDINATOR } },
  test: { environment: "happy-dom", include: ["tests/**/*.test.{ts,tsx}"], restoreMocks: true },
});
