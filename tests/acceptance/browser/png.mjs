// Makes pictures of pages small: at most 256 colours, which is what pages have but for the edges of letters.
import { crc32, deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** The pixels of an eight-bit picture, as Chromium makes them: RGB or RGBA, not interlaced. */
const pixels = (file) => {
  let at = 8;
  const data = [];
  let header;
  while (at < file.length) {
    const length = file.readUInt32BE(at);
    const kind = file.toString('latin1', at + 4, at + 8);
    const body = file.subarray(at + 8, at + 8 + length);
    if (kind === 'IHDR') header = { width: body.readUInt32BE(0), height: body.readUInt32BE(4), depth: body[8], colour: body[9] };
    if (kind === 'IDAT') data.push(body);
    at += length + 12;
  }
  const { width, height, depth, colour } = header;
  const step = { 2: 3, 6: 4 }[colour];
  if (depth !== 8 || !step) throw new Error('a picture of another kind');
  const raw = inflateSync(Buffer.concat(data));
  const line = width * step;
  const out = Buffer.alloc(line * height);
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (line + 1)];
    for (let x = 0; x < line; x += 1) {
      const left = x >= step ? out[y * line + x - step] : 0;
      const up = y ? out[(y - 1) * line + x] : 0;
      const corner = x >= step && y ? out[(y - 1) * line + x - step] : 0;
      const guess = left + up - corner;
      const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
      const near = a <= b && a <= c ? left : b <= c ? up : corner;
      out[y * line + x] = raw[y * (line + 1) + 1 + x] + [0, left, up, (left + up) >> 1, near][filter];
    }
  }
  return { width, height, step, bytes: out };
};

const chunk = (kind, body) => {
  const named = Buffer.concat([Buffer.from(kind, 'latin1'), body]);
  const out = Buffer.alloc(named.length + 8);
  out.writeUInt32BE(body.length, 0);
  named.copy(out, 4);
  out.writeUInt32BE(crc32(named), named.length + 4);
  return out;
};

/** The same picture with a palette. */
export const smaller = (file) => {
  const { width, height, step, bytes } = pixels(file);
  const seen = new Map();
  const code = (at) => (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
  for (let at = 0; at < bytes.length; at += step) seen.set(code(at), (seen.get(code(at)) ?? 0) + 1);
  const palette = [...seen].sort((one, other) => other[1] - one[1]).slice(0, 256).map(([colour]) => colour);
  const places = new Map(palette.map((colour, place) => [colour, place]));
  const far = (one, other) => [16, 8, 0].reduce((sum, bits) => sum + (((one >> bits) & 255) - ((other >> bits) & 255)) ** 2, 0);
  const nearest = (colour) => {
    let best = 0;
    for (let place = 1; place < palette.length; place += 1) if (far(colour, palette[place]) < far(colour, palette[best])) best = place;
    places.set(colour, best);
    return best;
  };
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const colour = code((y * width + x) * step);
      rows[y * (width + 1) + 1 + x] = places.get(colour) ?? nearest(colour);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const colours = Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]));
  return Buffer.concat([SIGNATURE, chunk('IHDR', header), chunk('PLTE', colours), chunk('IDAT', deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))]);
};
