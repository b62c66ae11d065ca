import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { t } from "../i18n";
import { hueOf } from "../ui/hue";
import { Icon, type IconName } from "../ui/icons";
import { LONGEST_NAME } from "./limits";
import { useModel } from "./model-context";
import { PanelFrame } from "./panels";
import { findParticipant, mayHandOver } from "./room-state";
import type { Participant } from "./room-types";

export function PeoplePanel(): JSX.Element {
  const model = useModel();
  const room = model.room.value;
  const texts = t().people;
  const you = findParticipant(room, room?.you);
  const order = { owner: 0, controller: 1, watcher: 2 } as const;
  const people = [...(room?.participants ?? [])].sort(
    (a, b) => order[a.role] - order[b.role] || a.joined_at - b.joined_at,
  );
  return (
    <PanelFrame
      heading={texts.heading}
      testId="people-panel"
      aside={<span class="muted small">{texts.count(people.length)}</span>}
    >
      <ul class="people" data-testid="people-list">
        {people.map((person) => (
          <Person key={person.id} person={person} />
        ))}
      </ul>
      <footer class="panel-foot">
        {you && (
          <button
            type="button"
            class="button compact"
            data-testid="hand-button"
            aria-pressed={you.hand}
            onClick={() => model.send({ type: "hand", raised: !you.hand })}
          >
            <Icon name="hand" size={18} />
            {you.hand ? texts.lowerHand : texts.raiseHand}
          </button>
        )}
        {model.isOwner.value && (
          <label class="switch">
            <input
              type="checkbox"
              role="switch"
              data-testid="lock-switch"
              checked={room?.locked ?? false}
              onChange={(event) => model.send({ type: "lock", locked: event.currentTarget.checked })}
            />
            <span>{texts.lock}</span>
          </label>
        )}
        {!model.isOwner.value && room?.locked && (
          <span class="muted small">
            <Icon name="lock" size={14} /> {texts.locked}
          </span>
        )}
        {you && <Rename name={you.name} />}
      </footer>
    </PanelFrame>
  );
}

function Person({ person }: { person: Participant }): JSX.Element {
  const model = useModel();
  const room = model.room.value;
  const texts = t().people;
  const { id, name, role } = person;
  const isYou = id === room?.you;
  const holds = room?.control.holder === id;
  const asks = room?.control.requests.includes(id) ?? false;
  const menu = useSignal(false);
  const mayGrant = !isYou && !holds && mayHandOver(room);

  return (
    <li class="person" data-testid={`participant-${id}`} data-role={role} data-control={holds ? "yes" : "no"}>
      <Avatar name={name} id={id} isSpeaking={room?.speaking.includes(id) ?? false} />
      <div class="person-text">
        <span class="person-name">
          <span class="person-label">{name}</span> {isYou && <span class="muted">({texts.you})</span>}
        </span>
        <span class="person-marks">
          <span class={`role role-${role}`}>{texts.roles[role]}</span>
          {holds && <Mark icon="pointer" text={texts.inControl} tone="accent" />}
          {asks && <Mark icon="pointer" text={texts.asks} tone="warn" />}
          {person.hand && <Mark icon="hand" text={texts.handUp} tone="warn" />}
          {person.voice.joined && (
            <Mark
              icon={person.voice.muted || person.voice.muted_by_owner ? "micOff" : "mic"}
              text={person.voice.muted || person.voice.muted_by_owner ? texts.voiceMuted : texts.voiceOn}
            />
          )}
          {person.players === 0 && <span class="muted">{texts.connecting}</span>}
        </span>
      </div>
      <div class="person-actions">
        {mayGrant && (
          <button
            type="button"
            class={`button compact ${asks ? "primary" : ""}`}
            data-testid={`grant-${id}`}
            aria-label={texts.grantTo(name)}
            title={texts.grantTo(name)}
            onClick={() => model.send({ type: "control.grant", participant: id })}
          >
            {asks ? texts.grant : <Icon name="pointer" size={16} />}
          </button>
        )}
        {model.isOwner.value && !isYou && (
          <button
            type="button"
            class="tool"
            data-testid={`menu-${id}`}
            aria-label={texts.menu(name)}
            aria-expanded={menu.value}
            onClick={() => {
              menu.value = !menu.value;
            }}
          >
            <Icon name="more" />
          </button>
        )}
      </div>
      {menu.value && <PersonMenu person={person} />}
    </li>
  );
}

function PersonMenu({ person }: { person: Participant }): JSX.Element {
  const model = useModel();
  const texts = t().people;
  const { id, name, voice } = person;
  const items: { key: string; label: string; text: string; icon: IconName; run: () => void; bad?: boolean }[] = [
    {
      key: "mute",
      label: voice.muted_by_owner ? texts.unmuteName(name) : texts.muteName(name),
      text: voice.muted_by_owner ? t().voice.unmute : texts.mute,
      icon: voice.muted_by_owner ? "mic" : "micOff",
      run: () => model.send({ type: "mute", participant: id, muted: !voice.muted_by_owner }),
    },
    {
      key: "transfer",
      label: texts.transferTo(name),
      text: texts.transfer,
      icon: "crown",
      run: () => model.send({ type: "owner.transfer", participant: id }),
    },
    {
      key: "kick",
      label: texts.kickName(name),
      text: texts.kick,
      icon: "leave",
      run: () => model.send({ type: "kick", participant: id }),
      bad: true,
    },
  ];
  return (
    <div class="person-menu">
      {items.map(({ key, label, text, icon, run, bad }) => (
        <button
          key={key}
          type="button"
          class={`chip-button ${bad ? "chip-bad" : ""}`}
          data-testid={`${key}-${id}`}
          aria-label={label}
          onClick={run}
        >
          <Icon name={icon} size={16} />
          {text}
        </button>
      ))}
    </div>
  );
}

function Mark({ icon, text, tone }: { icon: IconName; text: string; tone?: string }): JSX.Element {
  return (
    <span class={`mark mark-${tone ?? "plain"}`}>
      <Icon name={icon} size={14} />
      {text}
    </span>
  );
}

function Avatar({ name, id, isSpeaking }: { name: string; id: string; isSpeaking: boolean }): JSX.Element {
  return (
    <span
      class={`avatar ${isSpeaking ? "avatar-speaking" : ""}`}
      style={{ "--hue": String(hueOf(id)) }}
      title={isSpeaking ? t().people.speaking : undefined}
      aria-hidden="true"
    >
      {name.trim().slice(0, 1).toLocaleUpperCase() || "·"}
    </span>
  );
}

function Rename({ name }: { name: string }): JSX.Element {
  const model = useModel();
  const value = useSignal(name);
  const texts = t().people;
  return (
    <form
      class="rename"
      onSubmit={(event) => {
        event.preventDefault();
        const wanted = value.value.trim();
        if (wanted) model.rename(wanted);
      }}
    >
      <label class="field">
        <span>{texts.rename}</span>
        <input
          class="input compact"
          data-testid="rename-input"
          maxLength={LONGEST_NAME}
          value={value.value}
          onInput={(event) => {
            value.value = event.currentTarget.value;
          }}
        />
      </label>
      <button type="submit" class="button compact" disabled={value.value.trim() === "" || value.value.trim() === name}>
        {texts.renameSave}
      </button>
    </form>
  );
}
