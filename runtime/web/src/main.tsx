import "./styles/base.css";
import { render } from "preact";
import { App } from "./app";
import { preferredLanguage, setLanguage } from "./i18n";
import { startRouter } from "./router";
import { applyTheme } from "./ui/theme";

applyTheme();
startRouter();
const root = document.getElementById("app");
// Whatever the preferred language's file does, there must be a page: English is the second try.
void setLanguage(preferredLanguage())
  .catch(() => setLanguage("en"))
  .then(() => {
    if (root) render(<App />, root);
  });
