"use strict";
/* Looks for certificates. They are added to a release after its page was made, as annex/1, annex/2 and so on, and
   nothing lists them: a script that is not there says that there is none. */

const MOST_MISSES = 2;  // in a row; the annex between two certificates may be unfinished, or be something else

let foundCertificate = null, lookedForCertificates = false;
sodPage.certificate = (found) => { foundCertificate = found; };

/* What annex/NUMBER says, or null if it has no certificate of this release. */
async function certificateOf(number) {
  const script = document.createElement("script");
  const loaded = new Promise((resolve) => { script.onload = () => resolve(true); script.onerror = () => resolve(false); });
  foundCertificate = null;
  script.src = `annex/${number}/certificate.js`;
  document.head.append(script);
  const isThere = await loaded;
  script.remove();
  return isThere && isOfThisRelease(foundCertificate) ? foundCertificate : null;
}

function isOfThisRelease(found) {
  return typeof found?.sentence === "string" && found.name === table.release.name && found.version === table.release.version;
}

async function lookForCertificates() {
  let newest = null;
  for (let number = 1, misses = 0; misses < MOST_MISSES; number++) {
    const found = await certificateOf(number);
    misses = found ? 0 : misses + 1;
    if (found) newest = { ...found, number };
  }
  if (newest) showCertificate(newest);
  lookedForCertificates = true;
}

/* Say what the newest certificate says, in place of the warning that nobody has looked. */
function showCertificate({ number, sentence, images, population }) {
  document.getElementById("checked").textContent = sentence;
  const place = document.getElementById("certificate");
  place.replaceChildren();
  add(place, "span", { textContent: `${count(Number(images))} of ${count(Number(population))} accepted images were drawn for people to judge.` });
  add(place, "a", { href: `annex/${number}/index.html`, textContent: "See each with both masks" });
  add(place, "a", { href: `annex/${number}/certificate.md`, textContent: "Certificate" });
  add(place, "span", { className: "hint", textContent: "sod release verify computes it again from their answers." });
  place.hidden = false;
}
