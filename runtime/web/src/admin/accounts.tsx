import type { JSX } from "preact";
import { t } from "../i18n";
import { KeysBlock } from "./keys";
import { UsersBlock } from "./users";

/** People with a password, and keys of programs. */
export function AccountsTab(): JSX.Element {
  return (
    <div class="accounts">
      <section>
        <h2>{t().admin.account.users}</h2>
        <UsersBlock />
      </section>
      <section>
        <h2>{t().admin.account.keys}</h2>
        <KeysBlock />
      </section>
    </div>
  );
}
