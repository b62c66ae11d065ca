import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { Icon, type IconName } from "../ui/icons";
import { toast } from "../ui/toasts";
import { useMedia } from "../ui/use-media";
import { ControlButton, ControlState } from "./control-button";
import { useFullScreen } from "./full-screen";
import type { Panel } from "./model";
import { useModel } from "./model-context";
import { TimeLeft } from "./time-left";

const REST_AFTER_MS = 4_000;

interface Tool {
  id: string;
  icon: IconName;
  label: string;
  badge?: number;
  pressed?: boolean;
  expanded?: boolean;
  onClick: () => void;
}

/** The quiet toolbar: fades while nobody needs it, and can be put away to a handle. */
export function Toolbar({ onEnd }: { onEnd: () => void }): JSX.Element {
  const model = useModel();
  const isAwake = useAwake(model.inControl.value);
  const isHidden = useSignal(false);
  const isNarrow = useMedia("(max-width: 52rem)");
  const tools = useTools();
  const more = useSignal(false);
  const inBar = isNarrow ? tools.filter(({ id }) => id === "people" || id === "chat") : tools;
  const inMenu = isNarrow ? tools.filter((tool) => !inBar.includes(tool)) : [];
  const isOwner = model.isOwner.value;
  const rests = !isAwake.value && !more.value && model.panel.value === undefined;

  return (
    <div
      class={`toolbar-place ${rests ? "toolbar-resting" : ""} ${isHidden.value ? "toolbar-hidden" : ""}`}
      data-testid="toolbar-place"
    >
      {more.value && (
        <MoreMenu
          tools={inMenu}
          onClose={() => {
            more.value = false;
          }}
        />
      )}
      <div class="toolbar" role="toolbar" aria-label={t().player.toolbar} data-testid="toolbar">
        <ControlState />
        <ControlButton />
        <span class="toolbar-gap" />
        {inBar.map((tool) => (
          <ToolButton key={tool.id} tool={tool} />
        ))}
        {isNarrow && (
          <ToolButton
            tool={{
              id: "more",
              icon: "more",
              label: t().player.more,
              expanded: more.value,
              onClick: () => {
                more.value = !more.value;
              },
            }}
          />
        )}
        <span class="toolbar-gap" />
        <TimeLeft />
        <button
          type="button"
          class="tool tool-end"
          data-testid="end-button"
          aria-label={isOwner ? t().player.end : t().player.leave}
          title={isOwner ? t().player.end : t().player.leave}
          onClick={onEnd}
        >
          <Icon name={isOwner ? "power" : "leave"} />
        </button>
      </div>
      <button
        type="button"
        class="toolbar-handle"
        data-testid="toolbar-handle"
        aria-label={isHidden.value ? t().player.showToolbar : t().player.hideToolbar}
        aria-expanded={!isHidden.value}
        onClick={() => {
          isHidden.value = !isHidden.value;
        }}
      >
        <span />
      </button>
    </div>
  );
}

function ToolButton({ tool }: { tool: Tool }): JSX.Element {
  const { id, icon, label, badge, pressed, expanded, onClick } = tool;
  return (
    <button
      type="button"
      class="tool"
      data-testid={`${id}-button`}
      title={label}
      aria-pressed={pressed}
      aria-expanded={expanded}
      onClick={onClick}
    >
      <Icon name={icon} />
      <span class="visually-hidden">{label}</span>
      {badge ? <span class="badge">{badge > 99 ? "99+" : badge}</span> : null}
    </button>
  );
}

function MoreMenu({ tools, onClose }: { tools: Tool[]; onClose: () => void }): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    element.current?.querySelector("button")?.focus();
    const elsewhere = ({ target }: PointerEvent): void => {
      // Presses on the toolbar are its own: the button that opened this closes it.
      if (target instanceof Element && !target.closest(".toolbar-place")) onClose();
    };
    document.addEventListener("pointerdown", elsewhere, { capture: true });
    return () => document.removeEventListener("pointerdown", elsewhere, { capture: true });
  }, []);
  return (
    <div
      ref={element}
      class="more-menu"
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      {tools.map((tool) => (
        <button
          key={tool.id}
          type="button"
          class="more-item"
          data-testid={`${tool.id}-button`}
          aria-pressed={tool.pressed}
          onClick={() => {
            tool.onClick();
            onClose();
          }}
        >
          <Icon name={tool.icon} />
          {tool.label}
        </button>
      ))}
    </div>
  );
}

function useTools(): Tool[] {
  const model = useModel();
  const texts = t().player;
  const fullScreen = useFullScreen();
  const isTouch = useMedia("(pointer: coarse)");
  const panelTool = (id: Panel, icon: IconName, label: string, badge?: number): Tool => ({
    id,
    icon,
    label,
    expanded: model.panel.value === id,
    onClick: () => model.togglePanel(id),
    ...(badge ? { badge } : {}),
  });
  const room = model.room.value;
  const inCall = model.voice.status.value === "on";
  const sound = model.sound.value && model.block.value !== "muted";
  const tools: Tool[] = [panelTool("people", "people", texts.people, room?.participants.length)];
  if (room?.session.chat !== false) tools.push(panelTool("chat", "chat", texts.chat, model.unread.value));
  if (room?.session.voice !== false) {
    tools.push({
      ...panelTool("voice", inCall ? (model.voice.isMuted.value ? "micOff" : "mic") : "headset", texts.voice),
      ...(inCall ? { pressed: true } : {}),
    });
  }
  tools.push(panelTool("invite", "invite", texts.invite), panelTool("quality", "quality", texts.quality));
  tools.push({
    id: "sound",
    icon: sound ? "sound" : "soundOff",
    label: sound ? texts.sound : texts.soundOff,
    onClick: () => model.setSound(!sound),
  });
  if (isTouch) {
    tools.push({
      id: "keyboard",
      icon: "keyboard",
      label: texts.keyboard,
      onClick: () => {
        model.textInput.value = model.textInput.value ? undefined : { contents: "" };
      },
    });
  } else {
    tools.push({
      id: "pointer-lock",
      icon: "mouse",
      label: texts.pointerLock,
      pressed: model.pointerLock.value,
      onClick: () => {
        model.setPointerLock(!model.pointerLock.value);
        if (model.pointerLock.value) toast(texts.pointerLockHint, { icon: "mouse" });
      },
    });
  }
  if (fullScreen.isPossible) {
    tools.push({
      id: "full-screen",
      icon: fullScreen.isOn ? "shrink" : "expand",
      label: fullScreen.isOn ? texts.leaveFullScreen : texts.fullScreen,
      onClick: fullScreen.toggle,
    });
  }
  tools.push({
    id: "statistics",
    icon: "stats",
    label: texts.statistics,
    pressed: model.showStatistics.value,
    onClick: () => {
      model.showStatistics.value = !model.showStatistics.value;
    },
  });
  return tools;
}

/**
 * Awake while it is used. In control, moving the mouse over the application must not light the bar up; for watchers it
 * must, as in any video player.
 */
function useAwake(inControl: boolean): { value: boolean } {
  const awake = useSignal(true);
  useEffect(() => {
    let timer: number | undefined;
    const rest = (): void => {
      window.clearTimeout(timer);
      timer = window.setTimeout(() => {
        if (document.querySelector(".toolbar-place:hover, .toolbar-place:focus-within")) rest();
        else awake.value = false;
      }, REST_AFTER_MS);
    };
    const noticed = (event: Event): void => {
      const overControls = event.target instanceof Element && event.target.closest(".player-ui") !== null;
      if (!overControls && (inControl || event.type !== "pointermove")) return;
      awake.value = true;
      rest();
    };
    awake.value = true;
    rest();
    window.addEventListener("pointermove", noticed, { capture: true });
    window.addEventListener("focusin", noticed);
    return () => {
      window.clearTimeout(timer);
      window.removeEventListener("pointermove", noticed, { capture: true });
      window.removeEventListener("focusin", noticed);
    };
  }, [awake, inControl]);
  return awake;
}
