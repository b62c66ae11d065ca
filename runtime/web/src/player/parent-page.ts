import { effect } from "@preact/signals";
import { onParentCommand, tellParent } from "../embed/inside";
import type { PlayerModel } from "./model";
import { mayTake } from "./room-state";

/** Tell the page around us what happens, and obey the few wishes it may have. Does nothing when there is no such page. */
export function connectParent(model: PlayerModel): () => void {
  const stops = [
    effect(() => {
      const status = model.streamStatus.value;
      const state = status === "playing" ? "playing" : status === "lost" ? "reconnecting" : "connecting";
      tellParent({ type: "state", state, session: model.session.id });
    }),
    effect(() => {
      const holder = model.room.value?.control.holder ?? null;
      tellParent({ type: "control", holder, inControl: model.inControl.value });
    }),
    effect(() => tellParent({ type: "participants", count: model.room.value?.participants.length ?? 0 })),
    onParentCommand((command) => {
      const room = model.room.peek();
      switch (command.type) {
        case "requestControl":
          if (room) model.send({ type: mayTake(room, model.tokenRole) ? "control.take" : "control.request" });
          break;
        case "releaseControl":
          model.send({ type: "control.release" });
          break;
        case "setSound":
          model.setSound(command.on === true);
          break;
        case "uiInteraction":
          if (model.inControl.peek()) model.stream?.emitUiInteraction(command.descriptor as object | string);
          break;
        case "leave":
          model.leave();
          break;
      }
    }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
