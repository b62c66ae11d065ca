import "./styles/index.css";
import { render } from "preact";
import { App } from "./app";
import { isEmbedded, tellParent } from "./embed/inside";
import { isLanguage, preferredLanguage, setLanguage } from "./i18n";
import { loadMe } from "./me";
import { preloadCatalogue } from "./pages/catalogue";
import { startRouter } from "./router";
import { applyTheme, isTheme, theme } from "./ui/theme";

const VISITOR_WITHIN_MS = 1_000;

// A page that embeds us may choose language and appearance for this visit.
const wishes = new URLSearchParams(window.location.search);
const wantedLanguage = wishes.get("lang");
const wantedTheme = wishes.get("theme");
if (isTheme(wantedTheme)) theme.value = wantedTheme;
if (isEmbedded) document.documentElement.dataset["embedded"] = "";

applyTheme();
startRouter();
if (window.location.pathname === "/") preloadCatalogue();
// Who the visitor is decides what the header offers. Asked at once and waited for a moment, so that nothing jumps.
const visitor = loadMe().catch(() => undefined);
const patience = (): Promise<void> => new Promise((over) => window.setTimeout(over, VISITOR_WITHIN_MS));
const root = document.getElementById("app");
// Whatever the preferred language's file does, there must be a page: English is the second try.
void setLanguage(isLanguage(wantedLanguage) ? wantedLanguage : preferredLanguage())
  .catch(() => setLanguage("en"))
  .then(() => Promise.race([visitor, patience()]))
  .then(() => {
    if (!root) return;
    root.replaceChildren();
    render(<App />, root);
    tellParent({ type: "ready" });
  });
