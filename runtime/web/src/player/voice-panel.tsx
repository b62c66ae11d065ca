import type { JSX } from "preact";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { useModel } from "./model-context";
import { PanelFrame } from "./panels";
import { findParticipant } from "./room-state";

export function VoicePanel(): JSX.Element {
  const model = useModel();
  const { voice } = model;
  const texts = t().voice;
  const room = model.room.value;
  const inCall = room?.participants.filter((each) => each.voice.joined) ?? [];
  const isSilenced = findParticipant(room, room?.you)?.voice.muted_by_owner ?? false;
  const status = voice.status.value;
  const isOff = status === "off" || status === "failed";
  return (
    <PanelFrame heading={texts.heading} testId="voice-panel">
      <div class="panel-body">
        <p class="muted">{texts.lead}</p>
        <p role="status" data-testid="voice-status" data-status={status}>
          {status === "asking" ? texts.asking : texts.inCall(inCall.length)}
        </p>
        {inCall.length > 0 && (
          <ul class="voice-people">
            {inCall.map(({ id, name, voice: own }) => (
              <li key={id} class={room?.speaking.includes(id) ? "speaking" : ""}>
                <Icon name={own.muted || own.muted_by_owner ? "micOff" : "mic"} size={16} />
                {name}
              </li>
            ))}
          </ul>
        )}
        {voice.problem.value && (
          <p class="note note-bad" role="alert" data-testid="voice-problem">
            <Icon name="warning" />
            {texts[voice.problem.value]}
          </p>
        )}
        {isSilenced && !isOff && <p class="note note-warn">{texts.mutedByOwner}</p>}
        <div class="actions">
          {isOff ? (
            <button
              type="button"
              class="button primary"
              data-testid="voice-join"
              data-autofocus
              onClick={() => void voice.join()}
            >
              <Icon name="mic" />
              {texts.join}
            </button>
          ) : (
            <>
              <button
                type="button"
                class="button"
                data-testid="voice-mute"
                aria-pressed={voice.isMuted.value}
                disabled={isSilenced}
                onClick={() => voice.setMuted(!voice.isMuted.value)}
              >
                <Icon name={voice.isMuted.value ? "micOff" : "mic"} />
                {voice.isMuted.value ? texts.unmute : texts.mute}
              </button>
              <button type="button" class="button" data-testid="voice-leave" onClick={() => voice.leave()}>
                <Icon name="leave" />
                {texts.leave}
              </button>
            </>
          )}
        </div>
      </div>
    </PanelFrame>
  );
}
