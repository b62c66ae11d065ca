// Reads the sample title's marker strip in a browser or in Node: the counterpart of runtime/streamer/marker.py, whose module
// docstring describes the layout. A plain script: defines globalThis.pixelstreamMarker = { decode, readVideo }.
(() => {
  "use strict";
  const COLUMNS = 80, ROWS = 45, FIRST_COLUMN = 8, FIRST_ROW = 42, CELLS_PER_ROW = 64, CELL_ROWS = 3;
  const SYNC = 0xb2, VERSION = 1, MIN_CONTRAST = 50, DATA_BYTES = 22;

  const edge = (index, count, size) => Math.floor((2 * index * size + count) / (2 * count));

  function crc16(bytes, length) {
    let crc = 0xffff;
    for (let i = 0; i < length; i++) {
      crc ^= bytes[i] << 8;
      for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc;
  }

  // Mean luma (BT.601 weights) of the middle half of each cell. `top` is the picture row at which `rgba` begins.
  function cellMeans(rgba, width, height, top) {
    const means = [];
    for (let row = 0; row < CELL_ROWS; row++) {
      const y0 = edge(FIRST_ROW + row, ROWS, height), y1 = edge(FIRST_ROW + row + 1, ROWS, height);
      const insetY = (y1 - y0) >> 2;
      for (let column = 0; column < CELLS_PER_ROW; column++) {
        const x0 = edge(FIRST_COLUMN + column, COLUMNS, width), x1 = edge(FIRST_COLUMN + column + 1, COLUMNS, width);
        const insetX = (x1 - x0) >> 2;
        let sum = 0, count = 0;
        for (let y = y0 + insetY; y < y1 - insetY; y++) {
          for (let x = x0 + insetX; x < x1 - insetX; x++) {
            const at = ((y - top) * width + x) * 4;
            sum += 0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2];
            count++;
          }
        }
        means.push(sum / count);
      }
    }
    return means;
  }

  // rgba: Uint8ClampedArray of canvas pixels from picture row `top` (default 0) to the bottom. Answers an object or null.
  function decode(rgba, width, height, top = 0) {
    if (width < 2 * COLUMNS || height < 2 * ROWS) return null;
    const means = cellMeans(rgba, width, height, top);
    let light = 0, lights = 0, dark = 0, darks = 0;
    for (let bit = 0; bit < 8; bit++) {
      if ((SYNC >> (7 - bit)) & 1) { light += means[bit]; lights++; } else { dark += means[bit]; darks++; }
    }
    light /= lights;
    dark /= darks;
    if (light - dark < MIN_CONTRAST) return null;
    const threshold = (light + dark) / 2;
    const bytes = new Uint8Array(means.length / 8);
    means.forEach((mean, i) => { if (mean > threshold) bytes[i >> 3] |= 128 >> (i & 7); });
    // Sums instead of shifts: 32 and 48 bit fields exceed what JavaScript's bit operators hold.
    const field = (start, size) => bytes.slice(start, start + size).reduce((value, byte) => value * 256 + byte, 0);
    if (bytes[0] !== SYNC || bytes[1] !== VERSION || crc16(bytes, DATA_BYTES) !== field(DATA_BYTES, 2)) return null;
    return {
      frame: field(2, 4), timeMs: field(6, 6), inputs: field(12, 2), clickX: field(14, 2), clickY: field(16, 2),
      keys: field(18, 2), buttons: field(20, 1), toggles: field(21, 1),
    };
  }

  let canvas = null;

  // Reads the frame that a <video> shows now. Only the bottom of the picture is copied, which keeps it cheap at 60 fps.
  function readVideo(video) {
    const width = video.videoWidth, height = video.videoHeight;
    if (!width || !height) return null;
    const top = edge(FIRST_ROW, ROWS, height), rows = height - top;
    // Before the first frame Chromium may have a picture of two pixels.
    if (rows < 1) return null;
    canvas = canvas || document.createElement("canvas");
    if (canvas.width !== width || canvas.height !== rows) { canvas.width = width; canvas.height = rows; }
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, top, width, rows, 0, 0, width, rows);
    return decode(context.getImageData(0, 0, width, rows).data, width, height, top);
  }

  globalThis.pixelstreamMarker = { decode, readVideo };
})();
