import type { JSX } from "preact";
import { t } from "../i18n";
import { Icon } from "../ui/icons";

export interface Guest {
  name: string;
  email: string;
  role: "watcher" | "controller";
}

const MOST = 100;

/** Who is expected: a row for each, with the role that the link gives. */
export function GuestRows({ guests, onChange }: { guests: Guest[]; onChange: (guests: Guest[]) => void }): JSX.Element {
  const texts = t().schedule;
  const change = (place: number, changes: Partial<Guest>): void => {
    onChange(guests.map((guest, index) => (index === place ? { ...guest, ...changes } : guest)));
  };
  return (
    <fieldset class="guests">
      <legend>{texts.guests}</legend>
      {guests.map((guest, place) => (
        <div key={place} class="guest" data-testid={`guest-${place}`}>
          <input
            class="input"
            aria-label={texts.guestName}
            placeholder={texts.guestName}
            maxLength={100}
            value={guest.name}
            onInput={(event) => change(place, { name: event.currentTarget.value })}
          />
          <input
            class="input"
            type="email"
            aria-label={texts.guestEmail}
            placeholder={texts.guestEmail}
            maxLength={254}
            value={guest.email}
            onInput={(event) => change(place, { email: event.currentTarget.value })}
          />
          <select
            class="input"
            aria-label={texts.guestRole}
            value={guest.role}
            onChange={(event) => change(place, { role: event.currentTarget.value as Guest["role"] })}
          >
            {(["watcher", "controller"] as const).map((role) => (
              <option key={role} value={role}>
                {t().invite.roles[role]}
              </option>
            ))}
          </select>
          <button
            type="button"
            class="button compact quiet"
            aria-label={texts.removeGuest(guest.name || guest.email || texts.guest)}
            onClick={() => onChange(guests.filter((_, index) => index !== place))}
          >
            <Icon name="cross" size={18} />
          </button>
        </div>
      ))}
      <button
        type="button"
        class="button compact"
        data-testid="add-guest"
        disabled={guests.length >= MOST}
        onClick={() => onChange([...guests, { name: "", email: "", role: "watcher" }])}
      >
        <Icon name="plus" size={18} />
        {texts.addGuest}
      </button>
    </fieldset>
  );
}
