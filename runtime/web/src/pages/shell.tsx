import type { ComponentChildren, JSX } from "preact";
import { asApiError } from "../api/client";
import { isEmbedded } from "../embed/inside";
import { errorText, language, languages, setLanguage, t } from "../i18n";
import { isAdmin, me } from "../me";
import { path } from "../router";
import { useCurrentInView } from "../ui/current-in-view";
import { Icon, Logo } from "../ui/icons";
import { setTheme, type Theme, theme } from "../ui/theme";
import { toast } from "../ui/toasts";
import { askToSignIn, signOut } from "./sign-in-state";

const THEME_ICONS = { auto: "auto", light: "sun", dark: "moon" } as const;

function siteName(): string {
  return me.value?.features.site_name || t().productName;
}

/** Header, content and the skip link of every page but the player. */
export function Shell({ children, wide }: { children: ComponentChildren; wide?: boolean }): JSX.Element {
  return (
    <div class={`shell ${wide ? "shell-wide" : ""}`}>
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
      <Navigation />
      <div class="header-tools">
        <ThemeSwitch />
        <LanguageSwitch />
        <SignedIn />
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
        onChange={(event) => void setLanguage(event.currentTarget.value, true)}
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

function Navigation(): JSX.Element | null {
  const current = path.value;
  const row = useCurrentInView<HTMLElement>(`${current} ${isAdmin()}`);
  const links = [
    { href: "/", text: t().shell.catalogue, isHere: current === "/" },
    ...(me.value?.features.bookings
      ? [{ href: "/schedule", text: t().shell.schedule, isHere: current === "/schedule" }]
      : []),
    ...(isAdmin() ? [{ href: "/admin", text: t().shell.admin, isHere: current.startsWith("/admin") }] : []),
  ];
  // A single link to where one already is helps nobody.
  if (links.length < 2) return null;
  return (
    <nav ref={row} aria-label={siteName()}>
      {links.map(({ href, text, isHere }) => (
        <a key={href} href={href} aria-current={isHere ? "page" : undefined}>
          {text}
        </a>
      ))}
    </nav>
  );
}

/** Who is signed in and the way out, or the way in where one can sign in. */
function SignedIn(): JSX.Element | null {
  const visitor = me.value;
  if (!visitor || visitor.features.sign_in === "none") return null;
  const texts = t().signIn;
  if (visitor.kind === "anonymous") {
    return (
      <button type="button" class="button compact quiet" data-testid="sign-in" onClick={askToSignIn}>
        {texts.submit}
      </button>
    );
  }
  return (
    <button
      type="button"
      class="button compact quiet"
      data-testid="sign-out"
      aria-label={texts.out}
      title={texts.signedInAs(visitor.name)}
      onClick={() =>
        void signOut().catch((error: unknown) => toast(errorText(asApiError(error)).what, { kind: "error" }))
      }
    >
      <Icon name="leave" size={18} />
      <span>{texts.out}</span>
    </button>
  );
}
