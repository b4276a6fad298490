"use strict";
/* Reads the files of one image out of its tar on a web server: one request for the range of bytes that the manifest names.
   From a file no page can read another file, and rejected images are in no tar: the viewer shows thumbnails then. */

const MOST_SAMPLE_BYTES = 200_000_000;
const MOST_PIXELS = 50_000_000;  // four pictures of so many take 0.8 GB
const MOST_WHOLE_BYTES = 32_000_000;  // a server that knows no ranges sends the whole tar; a larger one is not waited for
const TAR_BLOCK = 512;

/* Why an image can't be seen in full resolution, "" if it may be tried. */
function whyNoSample(row) {
  if (!location.protocol.startsWith("http")) return "to see every pixel, open this page from a web server";
  if (!named("tar", row)) return "only accepted images are in the tars";
  if (table.columns.width[row] * table.columns.height[row] > MOST_PIXELS) return "more would not fit into memory";
  return "";
}

/* Extension → content of each file of an image. Rejects with words if the server does not give it. */
async function sampleFiles(row, signal) {
  const details = new Map(await detailsOf(row));
  const offset = details.get("sample_offset"), bytes = details.get("sample_bytes");
  if (!(Number.isSafeInteger(offset) && offset >= 0 && bytes > 0 && bytes <= MOST_SAMPLE_BYTES)) throw new Error("its place in the tar is unknown");
  const answer = await fetch(named("tar", row), { headers: { Range: `bytes=${offset}-${offset + bytes - 1}` }, signal });
  const isWhole = answer.status === 200, length = Number(answer.headers.get("Content-Length"));
  if (isWhole && !(length > 0 && length <= MOST_WHOLE_BYTES)) {
    await answer.body?.cancel();
    throw new Error("this server does not send ranges of bytes");
  }
  if (!isWhole && answer.status !== 206) throw new Error(`the server answers ${answer.status} for ${named("tar", row)}`);
  const content = await answer.arrayBuffer();
  return filesIn(isWhole ? content.slice(offset, offset + bytes) : content, table.columns.key[row]);
}

/* The plain files in a piece of a tar whose names begin with a key. */
function filesIn(content, key) {
  const files = new Map(), bytes = new Uint8Array(content);
  const text = (from, length) => String.fromCharCode(...bytes.subarray(from, from + length)).replace(/\0.*$/s, "");
  for (let at = 0; at + TAR_BLOCK <= bytes.length;) {
    const name = text(at, 100), size = parseInt(text(at + 124, 12), 8);
    if (!name.startsWith(`${key}.`) || !(size >= 0)) throw new Error("the tar has something else in its place");
    files.set(name.slice(key.length + 1), content.slice(at + TAR_BLOCK, at + TAR_BLOCK + size));
    at += TAR_BLOCK * (1 + Math.ceil(size / TAR_BLOCK));
  }
  return files;
}

/* The pictures of an image in full resolution, as `tilePictures` has them; photos that the browser can't decode, or that
   the release does not have, stay as they are in `preview`. */
async function samplePictures(row, preview, signal) {
  const files = await sampleFiles(row, signal);
  const decoded = async (end) => {
    const image = await createImageBitmap(new Blob([files.get(end)]));
    return { image, x: 0, y: 0, width: image.width, height: image.height };
  };
  const [mask, saliency, variance] = await Promise.all(["mask.png", "saliency.png", "variance.png"].map(decoded));
  const photo = files.has("jpg") ? await decoded("jpg").catch(() => preview.photo) : preview.photo;
  return { photo, mask, saliency, variance: { ...variance, isRoot: true } };
}
