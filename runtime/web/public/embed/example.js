// The example of docs/embed.md. Address parameters `title`, `session`, `invite`, `lang` and `theme` choose what is shown.

const stream = document.querySelector("pixel-stream");
const log = document.querySelector("#log");
const wanted = new URLSearchParams(window.location.search);

for (const [parameter, attribute] of [
  ["title", "title-name"],
  ["session", "session"],
  ["invite", "invite"],
  ["lang", "lang"],
  ["theme", "theme"],
]) {
  const value = wanted.get(parameter);
  if (value) stream.setAttribute(attribute, value);
}

for (const name of ["ready", "state", "progress", "control", "participants", "response", "ended", "error"]) {
  stream.addEventListener(`stream-${name}`, (event) => {
    const { source, type, ...rest } = event.detail;
    const line = document.createElement("li");
    line.dataset.type = type;
    line.textContent = `${type} ${JSON.stringify(rest)}`;
    log.append(line);
  });
}

const calls = {
  requestControl: () => stream.requestControl(),
  releaseControl: () => stream.releaseControl(),
  "sound-on": () => stream.setSound(true),
  "sound-off": () => stream.setSound(false),
  interaction: () => stream.sendUiInteraction({ greeting: "hello from the surrounding page" }),
  leave: () => stream.leave(),
};

for (const button of document.querySelectorAll("[data-call]")) {
  button.addEventListener("click", () => calls[button.dataset.call]());
}
