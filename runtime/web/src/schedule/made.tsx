import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Booking, Title } from "../api/types";
import { formatWindow, localText, t } from "../i18n";
import { copyText } from "../ui/copy";
import { Icon } from "../ui/icons";

interface MadeProps {
  bookings: Booking[];
  titles: Title[];
  onAnother: () => void;
}

/** What was booked, with the links of the guests, which nobody can show again. */
export function Made({ bookings, titles, onAnother }: MadeProps): JSX.Element {
  const texts = t().schedule;
  const heading = useRef<HTMLHeadingElement>(null);
  // The form, and with it the focus, is gone.
  useEffect(() => heading.current?.focus(), []);
  const hasLinks = bookings.some(({ invitees }) => invitees.some(({ url }) => url));
  return (
    <section class="booking-form" data-testid="booking-made">
      <h2 ref={heading} class="made-heading" tabIndex={-1}>
        <Icon name="check" />
        {texts.made}
      </h2>
      {hasLinks && <p class="note">{texts.madeLead}</p>}
      <ul class="made-list">
        {bookings.map((booking) => {
          const title = titles.find(({ name }) => name === booking.title);
          return (
            <li key={booking.id} data-testid={`made-${booking.id}`}>
              <h3>{booking.label || localText(title?.display_name, booking.title)}</h3>
              <p class="muted">{formatWindow(booking.starts_at, booking.ends_at, booking.time_zone)}</p>
              {booking.invitees.map((invitee) => (
                <GuestLink
                  key={invitee.invite}
                  name={invitee.name || invitee.email || t().invite.roles.watcher}
                  url={invitee.url}
                />
              ))}
              <a class="button compact" href={booking.calendar_url} download>
                <Icon name="calendar" size={18} />
                {texts.addToCalendar}
              </a>
            </li>
          );
        })}
      </ul>
      <button type="button" class="button" data-testid="book-another" onClick={onAnother}>
        {texts.bookAnother}
      </button>
    </section>
  );
}

function GuestLink({ name, url }: { name: string; url: string | null }): JSX.Element | null {
  if (!url) return null;
  const label = t().schedule.linkFor(name);
  return (
    <div class="guest-link">
      <label class="field">
        <span>{label}</span>
        <input
          class="input"
          readOnly
          data-testid="guest-link"
          value={url}
          onFocus={(event) => event.currentTarget.select()}
        />
      </label>
      <button
        type="button"
        class="button"
        aria-label={`${t().common.copy}: ${label}`}
        onClick={() => void copyText(url)}
      >
        <Icon name="copy" />
      </button>
    </div>
  );
}
