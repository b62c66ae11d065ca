// Watches a page from inside for the scenarios: every peer connection, the first presented frame, and marker readings.
// A plain script added before the page's own; defines globalThis.pixelstreamProbe.
(() => {
  "use strict";
  const connections = [];
  const probe = { firstFrameMs: null, startedMs: null, dtlsMs: null };
  // The moment from which media could come: the first connection's DTLS is up.
  const watchDtls = (connection) => {
    const transport = connection.getReceivers()[0]?.transport ?? connection.sctp?.transport;
    transport?.addEventListener("statechange", () => {
      if (transport.state === "connected") probe.dtlsMs ??= Date.now();
    });
  };
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Native {
    constructor(...rest) {
      super(...rest);
      connections.push(this);
      this.addEventListener("signalingstatechange", () => { if (this.signalingState === "stable") watchDtls(this); });
    }
  };

  const video = () => document.querySelector(globalThis.pixelstreamVideo ?? "[data-testid=stage] video");

  // The moment the first frame of the newest video element was presented.
  let watched = null;
  const watch = () => {
    const element = video();
    if (element && element !== watched) {
      watched = element;
      element.requestVideoFrameCallback(() => { probe.firstFrameMs ??= Date.now(); });
    }
    setTimeout(watch, 20);
  };
  watch();
  // Clicks before the first frame: the last of them began the start or the join.
  addEventListener("click", () => { if (probe.firstFrameMs === null) probe.startedMs = Date.now(); }, { capture: true });

  const inbound = async () => {
    const found = { video: null, audio: null };
    for (const connection of connections) {
      if (connection.connectionState !== "connected") continue;
      for (const entry of (await connection.getStats()).values()) {
        if (entry.type === "inbound-rtp" && (entry.bytesReceived > 0)) found[entry.kind] = { ...entry };
      }
    }
    return found;
  };

  // Resolves with the milliseconds from now until the marker's count of inputs moves, or null after `limitMs`.
  const untilInput = (limitMs) => new Promise((resolve) => {
    const element = video();
    const start = performance.now();
    const before = globalThis.pixelstreamMarker.readVideo(element)?.inputs;
    let pressed = null;
    addEventListener("mousedown", () => { pressed ??= performance.now(); }, { capture: true, once: true });
    const look = () => {
      const now = performance.now();
      const reading = globalThis.pixelstreamMarker.readVideo(element);
      if (pressed !== null && reading && before !== undefined && reading.inputs !== before) resolve(now - pressed);
      else if (now - start > limitMs) resolve(null);
      else element.requestVideoFrameCallback(look);
    };
    look();
  });

  // Picture latency of `count` presented frames: presented minus drawn, by the one clock of this machine.
  const latencies = (count) => new Promise((resolve) => {
    const element = video();
    const seen = [];
    const look = () => {
      const reading = globalThis.pixelstreamMarker.readVideo(element);
      if (reading) seen.push(Date.now() - reading.timeMs);
      if (seen.length >= count) resolve(seen);
      else element.requestVideoFrameCallback(look);
    };
    element.requestVideoFrameCallback(look);
  });

  // Collects every distinct press and the largest key count that the picture shows until `stop` is called.
  const record = () => {
    const element = video();
    const seen = { presses: new Set(), keys: 0 };
    let going = true;
    const look = () => {
      const reading = globalThis.pixelstreamMarker.readVideo(element);
      if (reading) {
        seen.presses.add(`${reading.clickX},${reading.clickY}`);
        seen.keys = Math.max(seen.keys, reading.keys);
      }
      if (going) element.requestVideoFrameCallback(look);
    };
    look();
    return () => {
      going = false;
      return { presses: [...seen.presses].map((press) => press.split(",").map((n) => n / 65536)), keys: seen.keys };
    };
  };

  // Luma of the square around a place in the picture (fractions), its side a thirteenth of the picture's width.
  const spot = (x, y) => {
    const element = video();
    const width = element.videoWidth, side = Math.round(width / 13);
    const canvas = new OffscreenCanvas(side, side);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(element, x * width - side / 2, y * element.videoHeight - side / 2, side, side, 0, 0, side, side);
    const rgba = context.getImageData(0, 0, side, side).data;
    return Array.from({ length: side * side }, (_, i) =>
      Math.round(0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2]));
  };

  globalThis.pixelstreamProbe = { state: probe, video, inbound, record, untilInput, latencies, spot, all: () => connections, connections: () => connections.map((c) => c.connectionState) };
})();
