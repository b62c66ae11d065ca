// What Epic's published player page does: its configuration from the URL (?ss=...), its stream, its user interface.
import { Config, PixelStreaming } from "@epicgames-ps/lib-pixelstreamingfrontend-ue5.7";
import { Application, PixelStreamingApplicationStyle } from "@epicgames-ps/lib-pixelstreamingfrontend-ui-ue5.7";

const style = new PixelStreamingApplicationStyle();
style.applyStyleSheet();
const stream = new PixelStreaming(new Config({ useUrlParams: true }));
const application = new Application({ stream, onColorModeChanged: (light) => style.setColorMode(light) });
document.body.appendChild(application.rootElement);
window.stock = { stream };
