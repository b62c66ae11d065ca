import type { JSX } from "preact";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { useModel } from "./model-context";
import { findParticipant, mayTake } from "./room-state";

/** Who is in control, in words. */
export function ControlState(): JSX.Element {
  const model = useModel();
  const room = model.room.value;
  const holder = room?.control.holder ?? null;
  const isYou = model.inControl.value;
  const texts = t().player;
  const text = isYou
    ? texts.controlling
    : holder === null
      ? texts.nobodyControls
      : texts.holderControls(findParticipant(room, holder)?.name ?? "");
  return (
    <span class={`control-state ${isYou ? "control-you" : ""}`} role="status" data-testid="control-state">
      <Icon name={isYou ? "pointer" : "eye"} size={16} />
      <span class="control-text">{room ? text : texts.connecting}</span>
    </span>
  );
}

/** The one control action that makes sense now: give up, take, or ask. */
export function ControlButton(): JSX.Element | null {
  const model = useModel();
  const room = model.room.value;
  if (!room) return null;
  const texts = t().player;

  if (model.inControl.value) {
    // An owner alone has nobody to leave it to.
    if (room.participants.length < 2) return null;
    return (
      <button
        type="button"
        class="tool-text"
        data-testid="release-control"
        onClick={() => model.send({ type: "control.release" })}
      >
        {texts.releaseControl}
      </button>
    );
  }
  if (mayTake(room, model.tokenRole)) {
    return (
      <button
        type="button"
        class="tool-text tool-primary"
        data-testid="take-control"
        onClick={() => model.send({ type: "control.take" })}
      >
        {texts.takeControl}
      </button>
    );
  }
  return (
    <button
      type="button"
      class="tool-text tool-primary"
      data-testid="ask-control"
      disabled={model.hasAsked.value}
      onClick={() => model.askControl()}
    >
      {model.hasAsked.value ? texts.asked : texts.askControl}
    </button>
  );
}
