import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { asApiError, request } from "../api/client";
import type { Booking, BookingPage, Title } from "../api/types";
import { errorText, formatWindow, localText, t } from "../i18n";
import { copyText } from "../ui/copy";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { toast } from "../ui/toasts";
import { localZone } from "./zone";

interface MyBookingsProps {
  page: BookingPage;
  titles: Title[];
  onChanged: () => void;
}

export function MyBookings({ page, titles, onChanged }: MyBookingsProps): JSX.Element {
  const cancelling = useSignal<Booking | undefined>(undefined);
  const texts = t().bookings;
  return (
    <section class="my-bookings" aria-labelledby="my-bookings-heading">
      <div class="my-bookings-head">
        <h2 id="my-bookings-heading">{texts.heading}</h2>
        {page.calendar_url && (
          <button
            type="button"
            class="button compact"
            data-testid="copy-feed"
            title={texts.feedLead}
            onClick={() => void copyText(page.calendar_url ?? "")}
          >
            <Icon name="copy" size={18} />
            {texts.feed}
          </button>
        )}
      </div>
      {page.items.length === 0 ? (
        <p class="muted">{texts.none}</p>
      ) : (
        <ul class="booking-list" data-testid="my-bookings">
          {page.items.map((booking) => (
            <li key={booking.id}>
              <BookingCard
                booking={booking}
                title={titles.find(({ name }) => name === booking.title)}
                onCancel={() => {
                  cancelling.value = booking;
                }}
              />
            </li>
          ))}
        </ul>
      )}
      {cancelling.value && (
        <CancelDialog
          booking={cancelling.value}
          onClose={() => {
            cancelling.value = undefined;
            onChanged();
          }}
        />
      )}
    </section>
  );
}

interface BookingCardProps {
  booking: Booking;
  title: Title | undefined;
  onCancel?: () => void;
}

export function BookingCard({ booking, title, onCancel }: BookingCardProps): JSX.Element {
  const texts = t().bookings;
  const name = localText(title?.display_name, booking.title);
  const when = formatWindow(booking.starts_at, booking.ends_at, localZone());
  const isLive = booking.state === "planned" || booking.state === "open";
  return (
    <article class="booking-card" data-testid={`booking-${booking.id}`} data-state={booking.state}>
      <div class="booking-text">
        <h3>{booking.label || name}</h3>
        <p>{when}</p>
        <p class="muted small">
          <span class={`state state-${booking.state}`}>{texts.states[booking.state]}</span>{" "}
          {[
            booking.label ? name : "",
            booking.invitees.length > 0 ? texts.guests(booking.invitees.length) : "",
            booking.series ? texts.series : "",
          ]
            .filter(Boolean)
            .join(" · ")}
        </p>
      </div>
      <div class="booking-actions">
        {booking.state === "open" && booking.session && (
          <a class="button primary compact" href={`/session/${booking.session}`} aria-label={texts.openName(name)}>
            <Icon name="play" size={18} />
            {texts.open}
          </a>
        )}
        {isLive && (
          <a class="button compact" href={booking.calendar_url} download title={texts.ics} aria-label={texts.ics}>
            <Icon name="calendar" size={18} />
          </a>
        )}
        {isLive && onCancel && (
          <button
            type="button"
            class="button compact"
            data-testid={`cancel-${booking.id}`}
            aria-label={texts.cancelName(name, when)}
            onClick={onCancel}
          >
            {texts.cancel}
          </button>
        )}
      </div>
    </article>
  );
}

export function CancelDialog({ booking, onClose }: { booking: Booking; onClose: () => void }): JSX.Element {
  const texts = t().bookings;
  const cancel = async (series: "this" | "following"): Promise<void> => {
    try {
      await request("DELETE", `/api/v1/bookings/${booking.id}?series=${series}`);
      toast(texts.cancelled, { icon: "check" });
    } catch (reason) {
      const said = errorText(asApiError(reason));
      toast(`${said.what} ${said.fix}`, { kind: "error", icon: "warning" });
    }
    onClose();
  };
  return (
    <Dialog heading={texts.cancelHeading} role="alertdialog" testId="cancel-booking-dialog" onClose={onClose}>
      <p>{formatWindow(booking.starts_at, booking.ends_at, localZone())}</p>
      <p>{texts.cancelLead}</p>
      <div class="actions">
        <button type="button" class="button" onClick={onClose}>
          {texts.keep}
        </button>
        {booking.series && (
          <button type="button" class="button" data-testid="cancel-following" onClick={() => void cancel("following")}>
            {texts.cancelFollowing}
          </button>
        )}
        <button type="button" class="button danger" data-testid="confirm-cancel" onClick={() => void cancel("this")}>
          {booking.series ? texts.cancelThis : texts.cancel}
        </button>
      </div>
    </Dialog>
  );
}
