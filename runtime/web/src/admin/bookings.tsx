import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import type { Booking } from "../api/types";
import { formatDateTime, formatWindow, t } from "../i18n";
import { CancelDialog } from "../schedule/my-bookings";
import { localZone } from "../schedule/zone";
import { readAll, usePolled } from "./poll";
import { StaleNote } from "./stale";
import { type ShownColumn, Table } from "./table";

const EVERY_MS = 15_000;

/** Everybody's bookings that are planned or open. */
export function BookingsTab(): JSX.Element {
  const { data, error, reload } = usePolled(
    "bookings",
    (signal) => readAll<Booking>("/api/v1/bookings?state=live", signal),
    EVERY_MS,
  );
  const cancelling = useSignal<Booking | undefined>(undefined);
  if (!data) return <StaleNote error={error} isLoading />;
  return (
    <>
      <StaleNote error={error} />
      <Table
        label={t().admin.tabs.bookings}
        testId="admin-bookings"
        rows={data}
        columns={columns((booking) => {
          cancelling.value = booking;
        })}
        keyOf={({ id }) => id}
        sortedBy={{ column: "window", descending: false }}
        empty={t().bookings.noneAtAll}
      />
      {cancelling.value && (
        <CancelDialog
          booking={cancelling.value}
          onClose={() => {
            cancelling.value = undefined;
            reload();
          }}
        />
      )}
    </>
  );
}

function columns(onCancel: (booking: Booking) => void): ShownColumn<Booking>[] {
  const texts = t().bookings;
  const session = t().admin.session;
  return [
    { id: "title", heading: session.title, value: ({ title }) => title },
    {
      id: "window",
      heading: texts.window,
      value: ({ starts_at }) => starts_at,
      show: ({ starts_at, ends_at }) => formatWindow(starts_at, ends_at, localZone()),
    },
    {
      id: "state",
      heading: texts.state,
      value: ({ state }) => texts.states[state],
      show: ({ state }) => <span class={`state state-${state}`}>{texts.states[state]}</span>,
    },
    {
      id: "owner",
      heading: texts.owner,
      value: ({ owner }) => (owner ? owner.name || session.visitor(owner.id.slice(-6)) : null),
    },
    { id: "label", heading: texts.about, isSecondary: true, value: ({ label }) => label },
    {
      id: "guests",
      heading: t().schedule.guests,
      isNumber: true,
      isSecondary: true,
      value: ({ invitees }) => invitees.length,
    },
    {
      id: "made",
      heading: t().admin.account.created,
      isNumber: true,
      isSecondary: true,
      value: ({ created_at }) => created_at,
      show: ({ created_at }) => formatDateTime(created_at),
    },
    {
      id: "cancel",
      heading: texts.cancel,
      value: () => null,
      show: (booking) => (
        <button
          type="button"
          class="button compact"
          data-testid={`cancel-${booking.id}`}
          aria-label={texts.cancelName(booking.title, formatDateTime(booking.starts_at))}
          onClick={() => onCancel(booking)}
        >
          {texts.cancel}
        </button>
      ),
    },
  ];
}
