// The example of docs/embed.md. Address parameters: `portal` (where the streams come from), and `title`, `session`, `invite`,
// `lang`, `theme`, which choose what is shown. A page of your own has the portal's script in a plain <script src> instead.

const stream = document.querySelector("pixel-stream");
const log = document.querySelector("#log");
const wanted = new URLSearchParams(window.location.search);

const script = document.createElement("script");
script.src = new URL("/static/embed.js", wanted.get("portal") ?? "http://127.0.0.1:8080").href;
document.head.append(script);

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
