import type { JSX } from "preact";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { useModel } from "./model-context";
import { findParticipant, mayHandOver } from "./room-state";

/** Requests for control that this person may answer: one click each. */
export function ControlRequests(): JSX.Element | null {
  const model = useModel();
  const room = model.room.value;
  if (!room || !mayHandOver(room)) return null;
  const asking = room.control.requests.map((id) => findParticipant(room, id)).filter((each) => each !== undefined);
  if (asking.length === 0) return null;
  return (
    <ul class="requests" data-testid="control-requests">
      {asking.map(({ id, name }) => (
        <li key={id} class="request">
          <Icon name="pointer" />
          <span class="request-text">{t().toast.requested(name)}</span>
          <button
            type="button"
            class="button primary compact"
            data-testid="grant-control"
            aria-label={t().people.grantTo(name)}
            onClick={() => model.send({ type: "control.grant", participant: id })}
          >
            {t().people.grant}
          </button>
          <button
            type="button"
            class="button compact"
            data-testid="deny-control"
            aria-label={t().people.denyTo(name)}
            onClick={() => model.send({ type: "control.deny", participant: id })}
          >
            {t().people.deny}
          </button>
        </li>
      ))}
    </ul>
  );
}
