import type { JSX } from "preact";
import { t } from "../i18n";
import { Shell } from "../pages/shell";
import { copyText } from "../ui/copy";
import { Icon } from "../ui/icons";
import { MessagePage } from "../ui/message";

/** Instead of a session or an invitation where the browser cannot show streams: the way on is to take the link elsewhere. */
export function UnsupportedPage(): JSX.Element {
  return (
    <Shell>
      <MessagePage
        icon="warning"
        tone="bad"
        heading={t().player.unsupported}
        what={t().player.unsupportedFix}
        testId="unsupported-page"
      >
        <button type="button" class="button primary" onClick={() => void copyText(window.location.href)}>
          <Icon name="copy" />
          {t().common.copyLink}
        </button>
        <a class="button" href="/">
          {t().common.backToCatalogue}
        </a>
      </MessagePage>
    </Shell>
  );
}
