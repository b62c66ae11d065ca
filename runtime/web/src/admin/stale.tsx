import type { JSX } from "preact";
import type { ApiError } from "../api/client";
import { t } from "../i18n";
import { ErrorNote } from "../ui/message";

/** Nothing while all is well; why there are no (new) figures otherwise. */
export function StaleNote({
  error,
  isLoading,
}: {
  error: ApiError | undefined;
  isLoading?: boolean;
}): JSX.Element | null {
  if (!error) return isLoading ? <p class="page-loading">{t().common.loading}</p> : null;
  return <ErrorNote error={error}>{!isLoading && <p class="small">{t().admin.stale}</p>}</ErrorNote>;
}
