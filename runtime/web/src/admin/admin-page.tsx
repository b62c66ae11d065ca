import "../styles/admin.css";
import type { JSX } from "preact";
import { t } from "../i18n";
import { isAdmin, me } from "../me";
import { Shell } from "../pages/shell";
import { SignInForm } from "../pages/sign-in";
import { useCurrentInView } from "../ui/current-in-view";
import { Heading, MessagePage } from "../ui/message";
import { AccountsTab } from "./accounts";
import { AuditTab } from "./audit";
import { BookingsTab } from "./bookings";
import { HostsTab } from "./hosts";
import { OverviewTab } from "./overview";
import { SessionsTab } from "./sessions";
import { TitlesTab } from "./titles";

const TABS = {
  overview: OverviewTab,
  hosts: HostsTab,
  sessions: SessionsTab,
  titles: TitlesTab,
  bookings: BookingsTab,
  accounts: AccountsTab,
  audit: AuditTab,
} as const;

type TabName = keyof typeof TABS;

/** `/admin` and `/admin/{tab}`. */
export function AdminPage({ argument }: { argument: string }): JSX.Element {
  const name: TabName = argument in TABS ? (argument as TabName) : "overview";
  const row = useCurrentInView<HTMLElement>(`${name} ${isAdmin()}`);
  if (!me.value) {
    return (
      <Shell>
        <p class="page-loading">{t().common.loading}</p>
      </Shell>
    );
  }
  if (!isAdmin()) return <NotForYou />;
  const Tab = TABS[name];
  const tabs = (Object.keys(TABS) as TabName[]).filter((each) => each !== "bookings" || me.value?.features.bookings);
  return (
    <Shell wide>
      <div class="admin" data-testid="admin-page">
        <Heading>{t().admin.heading}</Heading>
        <nav ref={row} class="tabs" aria-label={t().admin.heading}>
          {tabs.map((each) => (
            <a
              key={each}
              href={each === "overview" ? "/admin" : `/admin/${each}`}
              aria-current={each === name ? "page" : undefined}
              data-testid={`tab-${each}`}
            >
              {t().admin.tabs[each]}
            </a>
          ))}
        </nav>
        <Tab key={name} />
      </div>
    </Shell>
  );
}

function NotForYou(): JSX.Element {
  const texts = t().signIn;
  return (
    <Shell>
      {me.value?.features.sign_in === "none" || me.value?.kind !== "anonymous" ? (
        <MessagePage icon="lock" heading={texts.adminOnly} what={texts.adminOnlyFix} testId="admin-only">
          <a class="button primary" href="/">
            {t().common.backToCatalogue}
          </a>
        </MessagePage>
      ) : (
        <SignInForm lead={texts.adminOnly} />
      )}
    </Shell>
  );
}
