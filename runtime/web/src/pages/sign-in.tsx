import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type ApiError, asApiError } from "../api/client";
import { t } from "../i18n";
import { me } from "../me";
import { path } from "../router";
import { Icon } from "../ui/icons";
import { ErrorNote, Heading } from "../ui/message";
import { signIn } from "./sign-in-state";

/** Sign in by password, or by the organisation's provider, whichever this installation offers. */
export function SignInForm({ lead }: { lead?: string }): JSX.Element {
  const texts = t().signIn;
  return (
    <section class="sign-in" data-testid="sign-in-page">
      <div class="message-icon">
        <Icon name="lock" size={32} />
      </div>
      <Heading>{texts.heading}</Heading>
      <p class="muted">{lead ?? texts.lead}</p>
      {me.value?.features.sign_in === "oidc" ? <ByProvider /> : <ByPassword />}
    </section>
  );
}

function ByProvider(): JSX.Element {
  // A real navigation: the provider's pages are not ours.
  const target = `/api/v1/sign-in/oidc?after=${encodeURIComponent(path.value)}`;
  return (
    <a class="button primary" href={target} data-testid="sign-in-oidc">
      {t().signIn.byProvider}
    </a>
  );
}

function ByPassword(): JSX.Element {
  const texts = t().signIn;
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();

  const submit = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      await signIn(name, password);
    } catch (reason) {
      setError(asApiError(reason));
      setPassword("");
    } finally {
      setBusy(false);
    }
  };

  return (
    <form
      class="sign-in-form"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <label class="field">
        <span>{texts.name}</span>
        <input
          class="input"
          data-testid="sign-in-name"
          autocomplete="username"
          required
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <label class="field">
        <span>{texts.password}</span>
        <input
          class="input"
          type="password"
          data-testid="sign-in-password"
          autocomplete="current-password"
          required
          value={password}
          onInput={(event) => setPassword(event.currentTarget.value)}
        />
      </label>
      {error && <ErrorNote error={error} />}
      <button type="submit" class="button primary" data-testid="sign-in-submit" disabled={busy}>
        {busy ? texts.busy : texts.submit}
      </button>
    </form>
  );
}
