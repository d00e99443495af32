// Verify and sign messages between fallow and a platform: Standard Webhooks 1.0.0, `v1a` (Ed25519) and `v1` (HMAC-SHA-256).
// Node's standard library only. As a program it tries itself on the test vectors: `node verify.mjs < ../vectors.tsv`.

import { createHmac, createPrivateKey, createPublicKey, sign as signed, timingSafeEqual, verify as verified } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const WINDOW = 300; // seconds between the sender's clock and yours, either way
const MOST_SIGNATURES = 8, LONGEST_HEADER = 2048, MOST_KEYS = 4;
const ID = /^msg_(?=[0-9]*[A-Za-z])(?!.*[0-9]{7})[A-Za-z0-9]{16,64}$/;
const TIMESTAMP = /^[1-9][0-9]{0,10}$/;
// What DER puts before the 32 bytes of an Ed25519 key (RFC 8410).
const PUBLIC_HEAD = Buffer.from("302a300506032b6570032100", "hex");
const SECRET_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

/**
 * Tell whether the owner of one of `keys` has signed this very body just now.
 *
 * id, timestamp, signature: the headers `webhook-id`, `webhook-timestamp`, `webhook-signature`; undefined where missing.
 * body: the bytes as they came, a Buffer; parse them afterwards.
 * keys: the sender's active keys, `whpk_…` (Ed25519) or `whsec_…` (shared secret).
 */
export function verify(id, timestamp, signature, body, keys, now = Date.now() / 1000) {
  if (!ID.test(id ?? "") || !TIMESTAMP.test(timestamp ?? "") || keys.length < 1 || keys.length > MOST_KEYS) return false;
  if (Math.abs(now - Number(timestamp)) > WINDOW) return false;
  const header = signature ?? "", tokens = header.split(" ");
  if (header.length > LONGEST_HEADER || tokens.length > MOST_SIGNATURES) return false;
  const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  // Every pair is tried, so that the time taken does not tell which was the good one.
  return keys.flatMap((key) => tokens.map((token) => matches(key, token, content))).includes(true);
}

/** Return the header `webhook-signature` for a body that is sent at `timestamp`, unix seconds. */
export function sign(secret, id, timestamp, body) {
  const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  if (secret.startsWith("whsec_")) return "v1," + hmac(secret, content).toString("base64");
  const seed = Buffer.from(secret.slice("whsk_".length), "base64").subarray(0, 32);
  const key = createPrivateKey({ key: Buffer.concat([SECRET_HEAD, seed]), format: "der", type: "pkcs8" });
  return "v1a," + signed(null, content, key).toString("base64");
}

function matches(key, token, content) {
  const comma = token.indexOf(",");
  const scheme = token.slice(0, comma), made = strictBase64(token.slice(comma + 1));
  if (scheme === "v1" && key.startsWith("whsec_")) return made.length === 32 && timingSafeEqual(made, hmac(key, content));
  if (scheme !== "v1a" || !key.startsWith("whpk_") || made.length !== 64) return false;
  const raw = Buffer.from(key.slice("whpk_".length), "base64");
  return verified(null, content, createPublicKey({ key: Buffer.concat([PUBLIC_HEAD, raw]), format: "der", type: "spki" }), made);
}

function hmac(secret, content) {
  return createHmac("sha256", Buffer.from(secret.slice("whsec_".length), "base64")).update(content).digest();
}

/** Decode base64 in its one canonical spelling; anything else gives no bytes, which are no signature. */
function strictBase64(text) {
  const raw = Buffer.from(text, "base64");
  return raw.toString("base64") === text ? raw : Buffer.alloc(0);
}

function tryVectors() {
  const header = (cell) => (cell === "-" ? undefined : Buffer.from(cell, "base64").toString());
  for (const line of readFileSync(0, "utf8").replace(/\n$/, "").split("\n")) {
    if (line.startsWith("#")) continue;
    const [kind, name, expected, keys, now, ...rest] = line.split("\t");
    const [id, timestamp, signature] = rest.slice(0, 3).map(header), body = Buffer.from(rest[3], "base64");
    const active = keys.split(" ").filter(Boolean);
    const found =
      kind === "sign" ? sign(keys, id, Number(timestamp), body)
      : verify(id, timestamp, signature, body, active, Number(now)) ? "ok" : "refused";
    if (found !== expected) process.exitCode = 1;
    console.log([name, found, found === expected ? "" : `but expected: ${expected}`].join("\t"));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) tryVectors();
