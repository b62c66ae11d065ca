import type { ComponentChildren, JSX } from "preact";
import { isEmbedded } from "../embed/inside";
import { type Language, language, languages, setLanguage, t } from "../i18n";
import { me } from "../me";
import { Icon, Logo } from "../ui/icons";
import { setTheme, type Theme, theme } from "../ui/theme";

const THEME_ICONS = { auto: "auto", light: "sun", dark: "moon" } as const;

function siteName(): string {
  return me.value?.features.site_name || t().productName;
}

/** Header, content and the skip link of every page but the player. */
export function Shell({ children }: { children: ComponentChildren }): JSX.Element {
  return (
    <div class="shell">
      <a class="skip-link" href="#content">
        {t().common.skipToContent}
      </a>
      {isEmbedded ? null : <Header />}
      <main id="content" class="content" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function Header(): JSX.Element {
  return (
    <header class="header">
      <a class="brand" href="/">
        <Logo />
        <span>{siteName()}</span>
      </a>
      <div class="header-tools">
        <ThemeSwitch />
        <LanguageSwitch />
      </div>
    </header>
  );
}

export function LanguageSwitch(): JSX.Element {
  return (
    <label class="select-wrap">
      <span class="visually-hidden">{t().shell.language}</span>
      <Icon name="globe" size={18} />
      <select
        data-testid="language"
        value={language.value}
        onChange={(event) => void setLanguage(event.currentTarget.value as Language, true)}
      >
        {languages.map(({ tag, name }) => (
          <option key={tag} value={tag} lang={tag}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

export function ThemeSwitch(): JSX.Element {
  const names: Record<Theme, string> = {
    auto: t().shell.themeAuto,
    light: t().shell.themeLight,
    dark: t().shell.themeDark,
  };
  return (
    <label class="select-wrap">
      <span class="visually-hidden">{t().shell.theme}</span>
      <Icon name={THEME_ICONS[theme.value]} size={18} />
      <select
        data-testid="theme"
        value={theme.value}
        onChange={(event) => setTheme(event.currentTarget.value as Theme)}
      >
        {(["auto", "light", "dark"] as const).map((each) => (
          <option key={each} value={each}>
            {names[each]}
          </option>
        ))}
      </select>
    </label>
  );
}
