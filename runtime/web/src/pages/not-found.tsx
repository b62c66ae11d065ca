import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "../i18n";
import { MessagePage } from "../ui/message";

export function NotFoundPage(): JSX.Element {
  return (
    <MessagePage
      icon="search"
      heading={t().errorPages.notFound}
      what={t().errorPages.notFoundLead}
      testId="not-found-page"
    >
      <a class="button primary" href="/">
        {t().common.backToCatalogue}
      </a>
    </MessagePage>
  );
}

/** No network at all. Comes back by itself: `onBack` runs as soon as the browser reports a connection. */
export function OfflinePage({ onBack }: { onBack?: () => void }): JSX.Element {
  const goOn = onBack ?? (() => window.location.reload());
  useEffect(() => {
    window.addEventListener("online", goOn);
    return () => window.removeEventListener("online", goOn);
  }, [goOn]);
  return (
    <MessagePage
      icon="offline"
      heading={t().errorPages.offline}
      what={t().errorPages.offlineLead}
      testId="offline-page"
    >
      <button type="button" class="button primary" onClick={goOn}>
        {t().common.retry}
      </button>
    </MessagePage>
  );
}
