import type { JSX } from "preact";
import { t } from "../i18n";
import { remember } from "../storage";
import { useModel } from "./model-context";
import { PanelFrame } from "./panels";
import { mayLimitPicture } from "./room-state";

const AUTO_BPS = 100_000_000;
const LEVELS = [
  { name: "auto", bps: AUTO_BPS },
  { name: "high", bps: 20_000_000 },
  { name: "medium", bps: 8_000_000 },
  { name: "low", bps: 2_500_000 },
] as const;

export function QualityPanel(): JSX.Element {
  const model = useModel();
  const texts = t().quality;
  const mayLimit = mayLimitPicture(model.room.value);
  const maySize = model.inControl.value;
  const { level, fps, matchWindow } = model.quality.value;
  return (
    <PanelFrame heading={texts.heading} testId="quality-panel">
      <div class="panel-body">
        {!mayLimit && <p class="note">{texts.ownerOnly}</p>}
        <fieldset class="choices" disabled={!mayLimit}>
          <legend>{texts.bitrate}</legend>
          {LEVELS.map(({ name, bps }) => (
            <label key={name} class="choice">
              <input
                type="radio"
                name="bitrate"
                data-testid={`quality-${name}`}
                checked={level === name}
                onChange={() => {
                  model.quality.value = { ...model.quality.value, level: name };
                  model.stream?.setMaxBitrateBps(bps);
                }}
              />
              <span>{texts[name]}</span>
            </label>
          ))}
        </fieldset>
        <fieldset class="choices" disabled={!mayLimit}>
          <legend>{texts.fps}</legend>
          {[60, 30].map((value) => (
            <label key={value} class="choice">
              <input
                type="radio"
                name="fps"
                data-testid={`fps-${value}`}
                checked={fps === value}
                onChange={() => {
                  model.quality.value = { ...model.quality.value, fps: value };
                  model.stream?.setMaxFramesPerSecond(value);
                }}
              />
              <span>{texts.fpsValue(value)}</span>
            </label>
          ))}
        </fieldset>
        {!maySize && <p class="note">{texts.controllerOnly}</p>}
        <label class="switch">
          <input
            type="checkbox"
            role="switch"
            data-testid="match-window"
            disabled={!maySize}
            checked={matchWindow}
            onChange={(event) => {
              const on = event.currentTarget.checked;
              model.quality.value = { ...model.quality.value, matchWindow: on };
              remember("match-window", on ? "on" : null);
            }}
          />
          <span>{texts.matchWindow}</span>
        </label>
        {model.layers.value.length > 1 && (
          <label class="field">
            <span>{texts.layer}</span>
            <select class="input" onChange={(event) => model.stream?.setLayer(event.currentTarget.value)}>
              {model.layers.value.map((layer) => (
                <option key={layer}>{layer}</option>
              ))}
            </select>
          </label>
        )}
      </div>
    </PanelFrame>
  );
}
