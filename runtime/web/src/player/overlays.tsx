import type { JSX } from "preact";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { useModel } from "./model-context";

/** What covers the picture while there is none, and the two taps that browsers may demand. */
export function Overlays(): JSX.Element {
  return (
    <>
      <Cover />
      <Taps />
    </>
  );
}

function Cover(): JSX.Element | null {
  const model = useModel();
  const texts = t().player;
  const stream = model.room.value?.stream;
  const status = model.streamStatus.value;
  const isFirst = model.measurement.value === undefined;

  if (model.unsupported.value) {
    return (
      <CoverText
        kind="unsupported"
        heading={texts.noCodec(model.unsupported.value.join(", "))}
        lead={texts.unsupportedFix}
      />
    );
  }
  if (stream === "lost") return <CoverText kind="lost" heading={texts.lost} lead={texts.lostLead} />;
  if (model.roomStatus.value === "lost" || status === "lost") {
    return <CoverText kind="reconnecting" heading={texts.reconnecting} lead={texts.reconnectingLead} />;
  }
  if (status === "playing") return null;
  if (stream === "waiting") return <CoverText kind="waiting" heading={texts.waiting} />;
  return isFirst ? (
    <CoverText kind="connecting" heading={texts.connecting} />
  ) : (
    <CoverText kind="reconnecting" heading={texts.reconnecting} lead={texts.reconnectingLead} />
  );
}

function CoverText({ kind, heading, lead }: { kind: string; heading: string; lead?: string }): JSX.Element {
  return (
    <div class={`cover cover-${kind}`} role="status" data-testid="stream-overlay" data-kind={kind}>
      {kind !== "unsupported" && <span class="spinner" />}
      <p class="cover-heading">{heading}</p>
      {lead && <p>{lead}</p>}
    </div>
  );
}

function Taps(): JSX.Element | null {
  const model = useModel();
  if (model.block.value === "tap") {
    return (
      <button
        type="button"
        class="tap-to-play"
        data-testid="tap-to-play"
        onClick={() => {
          model.block.value = "none";
          model.setSound(model.sound.value);
          model.stream?.play();
        }}
      >
        <Icon name="play" size={44} />
        <span>{t().player.tapToPlay}</span>
      </button>
    );
  }
  if (model.block.value === "muted") {
    return (
      <button type="button" class="tap-for-sound" data-testid="tap-for-sound" onClick={() => model.setSound(true)}>
        <Icon name="soundOff" />
        {t().player.tapForSound}
      </button>
    );
  }
  return null;
}
