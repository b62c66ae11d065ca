import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { asApiError } from "./api/client";
import { t } from "./i18n";
import { me } from "./me";
import { CataloguePage } from "./pages/catalogue";
import { NotFoundPage, OfflinePage } from "./pages/not-found";
import { Shell } from "./pages/shell";
import { SignInForm } from "./pages/sign-in";
import { isStale, wantsSignIn } from "./pages/sign-in-state";
import { path } from "./router";
import { isTooOld } from "./ui/browser";
import { MessagePage } from "./ui/message";
import { Toasts } from "./ui/toasts";

/** Pages that the catalogue does not need are fetched when they are opened. */
const lazyPages = {
  session: async () => (await import("./session/session-page")).SessionPage as ComponentType<{ argument: string }>,
  schedule: async () => (await import("./schedule/schedule-page")).SchedulePage as ComponentType<{ argument: string }>,
  admin: async () => (await import("./admin/admin-page")).AdminPage as ComponentType<{ argument: string }>,
  join: async () => (await import("./session/join-page")).JoinPage as ComponentType<{ argument: string }>,
};

type LazyName = keyof typeof lazyPages;

type Route = { page: "catalogue" } | { page: "notFound" } | { page: LazyName; argument: string };

export function routeOf(pathname: string): Route {
  const parts = pathname.split("/").filter(Boolean).map(decodeSegment);
  const [first, second] = parts;
  if (first === undefined) return { page: "catalogue" };
  if (first === "schedule" && parts.length === 1) return { page: "schedule", argument: "" };
  if (first === "admin" && parts.length <= 2) return { page: "admin", argument: second ?? "" };
  if (parts.length === 2 && second && (first === "session" || first === "join"))
    return { page: first, argument: second };
  return { page: "notFound" };
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

export function App(): JSX.Element {
  if (isStale.value) return <p class="page-loading">{t().common.loading}</p>;
  const route = routeOf(path.value);
  return (
    <>
      <RoutedPage route={route} />
      <Toasts />
    </>
  );
}

function RoutedPage({ route }: { route: Route }): JSX.Element {
  if (isTooOld()) {
    return (
      <Shell>
        <MessagePage
          icon="warning"
          tone="bad"
          heading={t().errorPages.oldBrowser}
          what={t().player.unsupportedFix}
          testId="old-browser-page"
        />
      </Shell>
    );
  }
  // Where everybody must sign in, invitations and what they lead to are the exception.
  const isOpen = route.page === "join" || route.page === "session";
  if (wantsSignIn.value || (me.value?.features.must_sign_in && !isOpen)) {
    return (
      <Shell>
        <SignInForm />
      </Shell>
    );
  }
  if (route.page === "catalogue") {
    return (
      <Shell>
        <CataloguePage />
      </Shell>
    );
  }
  if (route.page === "notFound") {
    return (
      <Shell>
        <NotFoundPage />
      </Shell>
    );
  }
  return (
    <LazyPage
      key={route.page === "admin" ? "admin" : `${route.page}/${route.argument}`}
      name={route.page}
      argument={route.argument}
    />
  );
}

function LazyPage({ name, argument }: { name: LazyName; argument: string }): JSX.Element {
  const [Page, setPage] = useState<ComponentType<{ argument: string }>>();
  const [failed, setFailed] = useState<unknown>();
  useEffect(() => {
    let current = true;
    lazyPages[name]().then(
      (loaded) => current && setPage(() => loaded),
      (error: unknown) => current && setFailed(error),
    );
    return () => {
      current = false;
    };
  }, [name]);

  if (failed !== undefined) {
    return <Shell>{navigator.onLine ? <LoadFailed error={failed} /> : <OfflinePage />}</Shell>;
  }
  if (!Page) return <p class="page-loading">{t().common.loading}</p>;
  return <Page argument={argument} />;
}

/** A part of the page could not be fetched, most likely because the service was updated in between. */
function LoadFailed({ error }: { error: unknown }): JSX.Element {
  return (
    <MessagePage icon="warning" tone="bad" heading={t().errorPages.failed} what={asApiError(error).message}>
      <button type="button" class="button primary" onClick={() => window.location.reload()}>
        {t().common.retry}
      </button>
    </MessagePage>
  );
}
